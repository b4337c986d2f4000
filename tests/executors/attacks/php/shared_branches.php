<?php
function f($x) { $v = 1; for ($i = 0; $i < 60; $i++) $v = [$v, $v]; return $v; }
