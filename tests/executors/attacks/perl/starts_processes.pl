sub f {
  my @started = grep { defined && length } (scalar fork, `id`, scalar eval { open my $p, '-|', 'id'; <$p> });
  push @started, 'system' if system('id') == 0;
  return @started;
}
