<?php
function f($x) { throw new Exception(str_repeat("\xff", 10000000)); }
