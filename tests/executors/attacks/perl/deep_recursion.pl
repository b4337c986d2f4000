no warnings;
sub f { return f($_[0] + 1) + 1 }
