<?php
function f($x) { $v = []; for ($i = 0; $i < 100000; $i++) $v = [$v]; return $v; }
