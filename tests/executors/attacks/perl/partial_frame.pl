use POSIX;
sub f { my $text = "4\n2\nok0\n0\n99999\n"; POSIX::write(2, $text, length $text); sleep 60 while 1 }
