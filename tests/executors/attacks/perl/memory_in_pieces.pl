sub f { my %kept; my $i = 0; $kept{$i++} = 'x' x 1000 while 1 }
