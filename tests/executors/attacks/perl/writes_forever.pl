$SIG{ALRM} = $SIG{TERM} = $SIG{INT} = 'IGNORE';
sub f { while (1) { print 'x' x 100_000; print STDERR 'x' x 100_000; warn 'x' } }
