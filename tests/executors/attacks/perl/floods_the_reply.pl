sub f { open my $out, '>&=', 2; while (1) { syswrite $out, 'x' x 100_000 } }
