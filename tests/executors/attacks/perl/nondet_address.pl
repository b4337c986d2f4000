sub f { return '' . \my $x }
