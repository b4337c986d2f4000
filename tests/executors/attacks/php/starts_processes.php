<?php
function f($x) {
    $started = [@shell_exec('id'), @exec('id'), @system('id'), @proc_open(['id'], [], $pipes), @popen('id', 'r')];
    $started[] = @pcntl_fork() > 0;
    $read = array_map(fn($one) => is_resource($one) ? (get_resource_type($one) === 'stream' ? fgets($one) : 'process') : $one, $started);
    return array_values(array_filter($read));
}
