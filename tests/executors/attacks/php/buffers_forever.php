<?php
ob_start();
function f($x) { while (true) echo str_repeat('x', 100000); }
