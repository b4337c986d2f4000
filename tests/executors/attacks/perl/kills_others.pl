sub f { return scalar grep { $_ != $$ && kill 'KILL', $_ } 1, getppid, 0, -1, 2 .. 50 }
