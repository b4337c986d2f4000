sub f { my $v = []; $v = [$v] for 1 .. 100_000; return $v }
