use POSIX;
sub f { POSIX::close($_) for 0 .. 64; return 7 }
