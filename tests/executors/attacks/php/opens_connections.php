<?php
function f($x) {
    return (int) (bool) @fsockopen('127.0.0.1', 18999) + (int) (bool) @stream_socket_client('udp://127.0.0.1:18999')
        + (int) (bool) @stream_socket_server('tcp://127.0.0.1:0') + (int) (bool) @socket_create(AF_INET, SOCK_STREAM, 0)
        + (int) (bool) @file_get_contents('http://127.0.0.1:18999/');
}
