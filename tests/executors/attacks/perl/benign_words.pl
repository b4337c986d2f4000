# fork; exec "rm -rf /";
sub f { return ["fork", 'exit', q(system), 'rm -rf /'] }
