<?php
function f($x) { $kept = []; while ($in = @fopen('/dev/null', 'r')) $kept[] = $in; return 7; }
