<?php
ini_set('memory_limit', '-1');
function f($x) { $kept = []; while (true) { $kept[] = $s = fopen('php://memory', 'w+'); fwrite($s, str_repeat('x', 1 << 20)); } }
