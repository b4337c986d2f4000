<?php
pcntl_async_signals(true);
foreach (range(1, 31) as $n) { if ($n != 9 && $n != 19) pcntl_signal($n, SIG_IGN); }
function f($x) { while (true) { try { throw new Exception; } catch (Throwable) {} } }
