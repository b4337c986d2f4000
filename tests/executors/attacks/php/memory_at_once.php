<?php
function f($x) { return strlen(str_repeat('x', 1 << 40)); }
