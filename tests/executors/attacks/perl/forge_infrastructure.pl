use POSIX;
sub f { my $text = "3\n14\ninfrastructure0\n0\n"; POSIX::write(2, $text, length $text); POSIX::_exit(0) }
