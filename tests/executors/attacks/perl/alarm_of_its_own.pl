$SIG{ALRM} = sub { print STDERR 'late'; alarm 1 };
sub f { alarm 1; 1 while 1 }
