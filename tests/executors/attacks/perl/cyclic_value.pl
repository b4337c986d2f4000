sub f { my %h; $h{k} = [\%h]; return \%h }
