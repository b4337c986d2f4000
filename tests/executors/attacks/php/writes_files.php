<?php
function f($x) {
    $paths = ['/var/tmp/azr_canary/left', '/tmp/left', 'left', '/dev/shm/left'];
    return count(array_filter($paths, fn($path) => @file_put_contents($path, 'left') !== false)) + (@tempnam('/tmp', 'a') ? 1 : 0);
}
