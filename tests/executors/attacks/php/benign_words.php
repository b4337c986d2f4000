<?php
// exec('rm -rf /');
function f($x) { return ["fork", 'exit', 'system', "rm -rf /"]; }
