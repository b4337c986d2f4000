sub f { my $v = 1; $v = [$v, $v] for 1 .. 60; return $v }
