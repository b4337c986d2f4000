BEGIN { exit 0 }
sub f { return 7 }
