END { 1 while 1 }
sub DESTROY { 1 while 1 }
our $kept = bless [];
sub f { return 7 }
