<?php
function f($x) { fclose(STDIN); fclose(STDOUT); fclose(STDERR); foreach (get_resources() as $one) @fclose($one); return 7; }
