sub f { return scalar grep { open my $out, '>', $_ } '/var/tmp/azr_canary/left', '/tmp/left', 'left', '/dev/shm/left' }
