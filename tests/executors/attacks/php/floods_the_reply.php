<?php
function f($x) { $out = fopen('php://fd/3', 'w'); while (true) fwrite($out, str_repeat('x', 100000)); }
