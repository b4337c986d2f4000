<?php
ini_set('memory_limit', '-1');
function f($x) { $kept = []; while (true) $kept[] = str_repeat('x', 1000); }
