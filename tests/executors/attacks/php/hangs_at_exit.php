<?php
register_shutdown_function(function () { while (true); });
class Slow { function __destruct() { while (true); } }
$kept = new Slow;
ob_start(function ($text) { while (true); });
function f($x) { return 7; }
