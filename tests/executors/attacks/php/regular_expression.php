<?php
ini_set('pcre.backtrack_limit', '2000000000');
ini_set('pcre.jit', '0');
function f($x) { return preg_match('/^(a+)+$/', str_repeat('a', 40) . '!'); }
