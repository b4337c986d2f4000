<?php
foreach (['serialize_precision', 'precision', 'default_charset', 'memory_limit', 'pcre.jit', 'display_errors'] as $name) ini_set($name, '1');
setlocale(LC_ALL, 'C');
set_error_handler(fn() => throw new Exception('handled'));
error_reporting(E_ALL);
function f($x) { return 0.1 + 0.2; }
