sub f { my $r; $r = \$r; return $r }
