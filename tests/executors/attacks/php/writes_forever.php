<?php
function f($x) { while (true) { echo str_repeat('x', 100000); fwrite(STDERR, 'x'); flush(); } }
