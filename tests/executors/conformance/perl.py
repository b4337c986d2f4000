"""Perl's part of test_conformance.py."""

from executors import Status

VALUES = r"""
my %made = (
  arithmetic => [int(7 / 2), -7 % 3, 2**10, 1 / 4, 0.1 + 0.2, 5e-324, 7 | 8, 10 / 5, "3" + 4, 1e15 / 3],
  boolean => [1 < 2, 2 < 1, !!1, !1],
  nothing => undef,
  empty => ["", [], {}],
  unicode => "é😀\x{e2}\x80\xae\t\n\"'\$x\@y",
  nul => "a\0b",
  invalid_utf8 => "a\xff",
  nan => -sin(9**9**9),
  negative_zero => -0.0,
  infinity => [9**9**9, -9**9**9],
  "1e22" => 1e22,
  nested => [[1, [2.5, { a => [3] }]], { b => { c => [undef, \"d"] } }, "\x{263a}é"],
  set => { map { $_ => 1 } 3, 1, "b", "a" },
  hash => { z => 1, 2 => "two", -3 => 4, "a b" => 5, "" => 6 },
);
sub f { return $made{$_[0]} }
"""
CASES = {
    "arithmetic": "[3, 2, 1024, 0.25, 0.30000000000000004, 4.94065645841247e-324, 15, 2, 7, 333333333333333.3]",
    "boolean": '[1, "", 1, ""]',
    "nothing": "undef",
    "empty": '["", [], {}]',
    "unicode": '"é😀\\xe2\\x80\\xae\\t\\n\\"\'\\$x\\@y"',
    "nul": '"a\\x00b"',
    "invalid_utf8": '"a\\xff"',
    "nan": '"NaN"',
    "negative_zero": "0",
    "infinity": '["Inf", "-Inf"]',
    "1e22": "1e+22",
    "nested": '[[1, [2.5, {"a" => [3]}]], {"b" => {"c" => [undef, \\"d"]}}, "\\x{263a}\\x{c3}\\x{a9}"]',
    "set": '{1 => 1, 3 => 1, "a" => 1, "b" => 1}',
    "hash": '{"" => 6, -3 => 4, 2 => "two", "a b" => 5, "z" => 1}',
}
CASES = {name: (VALUES, f'"{name}"', value) for name, value in CASES.items()}
ABSENT = {
    "big_integer": "integers are of 64 bits, and larger numbers are doubles",
    "deep_recursion": "calls are on the heap: recursion ends with the memory",
}

DISTINCT = ("1", '"1.0"', '"a"', "[1]", "0", '"00"', "undef", '"undef"', '""', "[]", "{}", '"NaN"', '"Inf"', "\\1",
            "\\\\1", "(1, 2)", "[1, 2]", "()",
            '"1e+15"', '"55e2x"', "55", '"\\x{e9}"', '"é"', "0.1", "1e+22")  # fmt: skip
SAME = (
    ("[1,2]", "[ 1, 2, ]"),
    ('{b => 1, "a" => 2}', '{"a", 2, "b", 1}'),
    ("0x10", "16"),
    ('"1"', "1"),
    ("1.0", "1"),
    ("'a'", '"\\x61"'),
    ("1_000", "1000"),
    ("(1)", "1"),
    ("[(1, 2), ()]", "[1, 2]"),
    ("qw(a b)", '("a", "b")'),
    ("-0.0", "0"),
)
NOT_VALUES = ("1) or 1 #", "1 || 2", "$x", "print(1)", "sub {}", "exit", "1; 2", "", "1 + 1", "[f()]", "1, 2", "(1), 2",
              '"$x"', '"@{[1]}"', "[1]->[0]", "`ls`", "1\n__END__",
              "\\(1, 2)", "{1}", "010", "[" * 300)  # fmt: skip

ERRORS = {
    "syntax": ("sub f { (", "0", Status.SYNTAX_ERROR),
    "raised": ("sub f { die 'no' }", "0", Status.RUNTIME_ERROR),
    "raised_at_load": ("die 'no'; sub f { 1 }", "0", Status.RUNTIME_ERROR),
    "unbound": ("sub f { y1() }", "0", Status.RUNTIME_ERROR),
    "no_f": ("my $g = 1;", "0", Status.RUNTIME_ERROR),
    "exit": ("sub f { exit 3 }", "0", Status.EXIT),
    "endless": ("sub f { while (1) {} }", "0", Status.TIMEOUT),
    "asleep": ("sub f { sleep 60 }", "0", Status.TIMEOUT),
    "memory": ("sub f { my @t; push @t, [] while 1 }", "0", Status.MEMORY),
    "too_long": ("sub f { 'x' x 5000 }", "0", Status.OUTPUT_LIMIT),
    "function": ("sub f { \\&f }", "0", Status.UNSERIALISABLE),
    "cycle": ("sub f { my @t; push @t, \\@t; \\@t }", "0", Status.UNSERIALISABLE),
}

_LIE = "package Lie; use overload '\"\"' => sub { '42' }, '==' => sub { 1 }, 'eq' => sub { 1 }, '0+' => sub { 42 };"
LIARS = (
    (f"{_LIE} package main; sub f {{ bless [], 'Lie' }}", "0", "42"),
    ("sub f { [42] }", "0", "42"),
    ("sub f { (42, 42) }", "0", "42"),
    ("sub f { '42.0' }", "0", "42"),
    ("BEGIN { *CORE::GLOBAL::sprintf = *CORE::GLOBAL::ref = *CORE::GLOBAL::sort = *CORE::GLOBAL::join = sub { "
     "'42' } }\n"
     "no strict 'refs'; for my $n (keys %Azr::) { *{\"Azr::$n\"} = sub { '42' } if defined &{\"Azr::$n\"} }\n"
     "*Scalar::Util::blessed = *Scalar::Util::reftype = *utf8::decode = sub { '42' };\n"
     "($, , $\\, $\", $;) = ('42') x 4;\n"
     "$SIG{__DIE__} = $SIG{__WARN__} = sub { print '42'; 42 }; sub f { 7 }", "0", "42"),
    ("package Tied; sub TIESCALAR { bless [] } sub FETCH { 42 } sub TIEARRAY { bless [] } sub FETCHSIZE { 1 }\n"
     "package main; sub f { tie my @a, 'Tied'; \\@a }", "0", "[42]"),
    ("package ARRAY; use overload '@{}' => sub { [42] }; package main; sub f { bless {}, 'ARRAY' }", "0", "[42]"),
    ("END { print {*STDERR} \"4\\n2\\nok0\\n0\\n2\\n42\" } sub f { exit 0 }", "0", "42"),
)  # fmt: skip
NONDETERMINISTIC = (
    ("sub f { rand }", "0"),
    ("sub f { time }", "0"),
    ("sub f { \"\" . [] }", "0"),
    ("sub f { join ',', keys %{$_[0]} }", "{map { $_ => 1 } 1 .. 40}"),
    ("sub f { scalar gmtime }", "0"),
    ("sub f { int(time / 86400) }", "0"),
)  # fmt: skip
DETERMINISTIC = (
    ("sub f { my $s = 0; $s += $_ for values %{$_[0]}; $s }", "{a => 1, b => 2}"),
    ("sub f { my %r = reverse %{$_[0]}; \\%r }", "{a => 1, b => 2}"),
    ("sub f { srand 7; int rand 1000 }", "0"),
)

PROGRAMS = (
    ("sub f { return g(@_) }\nsub g { return $_[0] + 1 }", "2"),
    ("use strict; use warnings;\nmy $n = 0;\nsub f { my ($x) = @_; $n += $x; return $n }\n1;", "4"),
    ("our @seen = (1);\nsub f { push @seen, @_; return \\@seen }", "2, 3"),
    ("#!/usr/bin/perl -w\nuse utf8;\nsub f { return length 'é' }", "0"),
    ("sub f { return length $_[0] }", "'é'"),
    ("sub f { my %o = (k => 1, @_); return \\%o }", "a => 1, k => 2"),
    ("sub f { my ($x, $y) = @_; return ($x, $y, scalar @_) }", "1, [2]"),
    ("sub f { return }", "0"),
    ("sub f { return wantarray ? 'list' : 'scalar' }", "0"),
    ("sub f { my @r = map { $_ * 2 } @{$_[0]}; return @r }", "[1, 2]"),
    ("sub f { my $x = shift; return [int($x / 2), $x % 3, -$x % 3, $x ** 2, $x / 2, $x & 6, $x | 8, $x ^ 1, $x "
     "<< 3] }",
     "7"),
    ("sub f { return [1 == 1.0, '1.0' == 1, '1.0' eq 1, 'a' lt 'b', 1 <=> 2, 'abc' x 2, '10' + 5, 10 . 20, "
     "'3abc' + 1] }",
     "0"),
    ("sub f { return [9223372036854775807 + 1, 2**53 + 1, 1e15, 0xff, 1_000, 1.10, 3.0, 1e3] }", "0"),
    ("sub f { my $s = shift; return [uc $s, scalar reverse($s), substr($s, 1, 2), index($s, 'l'), ord $s, "
     "ucfirst $s] }",
     "'hello'"),
    ("sub f { my $s = shift; (my $t = $s) =~ s/l+/<$&>/; my @all = $s =~ /(\\w)(\\w)/g; return [$t, @all, $s =~ "
     "tr/l//] }",
     "'hello'"),
    ("sub f { return sprintf '%05.2f|%-5s|%x|%+d|%s|%e', $_[0], 'ab', 255, 3, 1e21, 12345.678 }", "3.14159"),
    ("sub f { my %h = $_[0] =~ /(\\w+)=(\\w+)/g; return \\%h }", "'a=1, b=2'"),
    ("sub f { return [sort { $b <=> $a } grep { $_ & 1 } @{$_[0]}] }", "[3, 1, 2, 5]"),
    ("sub f { my $h = shift; return [map { [$_, $h->{$_}] } sort { $h->{$b} <=> $h->{$a} || $a cmp $b } keys %$h] }",
     "{a => 1, b => 3, c => 3}"),
    ("sub f { my @a = @{$_[0]}; splice @a, 1, 1, 'n', 'm'; return [@a, scalar @a, $#a, \"@a\", join('-', @a[0, "
     "-1])] }",
     "[1, 2, 3]"),
    ("sub f { my $x = shift; $x->{new} = keys %$x; delete $x->{k}; return exists $x->{k} ? 0 : $x }", "{k => "
     "'v', z => 1}"),
    ("sub f { my @m = @{$_[0]}; return [map { my $c = $_; [map { $_->[$c] } @m] } 0 .. $#{$m[0]}] }", "[[1, 2], "
     "[3, 4]]"),
    ("use List::Util qw(sum max first reduce uniq);\nsub f { return [sum(@_), max(@_), first(sub { $_ > 1 }, @_),\n"
     "reduce(sub { $a * $b }, @_), uniq(@_)] }", "1, 2, 3, 3"),
    ("use feature qw(say state signatures);\nno warnings;\n"
     "sub f($x, $y = 5) { state $n = 0; $n++; say 'noise'; return $x + $y + $n }",
     "1"),
    ("package A; sub new { my ($c, %o) = @_; return bless {%o}, $c } sub n { $_[0]{n} }\n"
     "package B; our @ISA = ('A'); sub n { my $s = shift; return $s->SUPER::n() * 2 }\n"
     "package main; sub f { return [B->new(n => $_[0])->n, ref(B->new), B->can('n') ? 1 : 0] }", "4"),
    ("package V; use overload '+' => sub { V->new($_[0]{n} + (ref $_[1] ? $_[1]{n} : $_[1])) }, '\"\"' => sub { "
     "\"<$_[0]{n}>\" };\n"
     "sub new { bless {n => $_[1]} } package main; sub f { return '' . (V->new($_[0]) + 2) }", "1"),
    ("sub f { my $x = shift; my $r = eval { die { code => $x } }; return [$@->{code}, defined $r ? 1 : 0] }", "5"),
    ("sub f { eval { die \"plain\\n\" }; my $e = $@; chomp $e; return $e }", "0"),
    ("sub f { local $@; my $v = eval { my $z = 0; 1 / $z }; return $@ =~ /^(Illegal division by zero)/ ? $1 : "
     "$v }", "0"),
    ("sub counter { my $n = shift; return sub { return $n++ } }\n"
     "sub f { my $c = counter($_[0]); $c->(); return $c->() }", "4"),
    ("sub fact { my $n = shift; return $n < 2 ? 1 : $n * fact($n - 1) }\nsub f { return fact($_[0]) }", "20"),
    ("sub fact { my $n = shift; return $n < 2 ? 1 : $n * fact($n - 1) }\nsub f { return fact($_[0]) }", "25"),
    ("sub f { my $s = ''; OUTER: for my $i (1 .. 3) { for my $j (1 .. 3) { next OUTER if $j == 2; last OUTER if "
     "$i == 3;\n"
     "$s .= \"$i$j \" } } return $s }", "0"),
    ("sub f { my $t = <<\"END\" . <<'RAW'; return $t }\na $_[0]\nEND\n$b\nRAW\n", "3"),
    ("sub f { return eval '1 + 2 * $_[0]' }", "3"),
    ("sub f { my ($x) = @_; return \\$x }", "'s'"),
    ("sub f { return [map { sprintf '%s', $_ } 1e15, 1e16, 0.1, 1/3, 1e100, -0.0, 17.0] }", "0"),
    ("sub f { return [0.1 + 0.2, 1/3, 1e100, 123456789.123456789] }", "0"),
    ("use POSIX qw(floor ceil fmod);\nsub f { return [floor(-3.5), ceil(3.2), fmod(7, 3), POSIX::strtol('ff', "
     "16)] }", "0"),
    ("use Data::Dumper; $Data::Dumper::Sortkeys = 1;\nsub f { return Dumper($_[0]) }", "{a => [1]}"),
    ("sub f { print 'noise'; print STDERR 'noise'; warn 'noise'; printf STDERR '%s', 1; return $_[0] }", "2"),
    ("my @stack = (1 .. 3);\nsub f { return [shift @stack, pop @stack, \"@stack\", wantarray] }", "0"),
    ("sub f { my %h; $h{$_}++ for split //, $_[0]; return \\%h }", "'hello'"),
    ("sub f { return [lc 'ÀB', \"\\x{263a}\", chr 233, ord \"\\x{263a}\", join(',', unpack 'C*', 'é')] }", "0"),
    ("sub f { return [__PACKAGE__, __LINE__, (caller(0))[3], scalar @ARGV] }", "0"),
    ("BEGIN { our $early = 5 } our $early;\nsub f { return $early }", "0"),
    ("END { my $n = 1 } sub f { return 1 }", "0"),
    ("sub f { return [pos, defined($_) ? 1 : 0, $/ eq \"\\n\" ? 1 : 0] }", "0"),
    ("sub f { return $_[0]{a}{b}{c} }", "{}"),
    ("use strict; sub f { return $_[0]->{a} }", "'text'"),
    ("sub f { return nothing($_[0]) }", "1"),
    ("sub f { return Nothing->new }", "1"),
    ("sub f { die { code => 1 } }", "1"),
    ("sub f { die \"told\\n\" }", "1"),
    ("package E; sub new { bless {} } use overload '\"\"' => sub { 'shown' }; package main; sub f { die E->new "
     "}", "1"),
    ("sub f { my $z = 0; return $_[0] / $z }", "1"),
    ("sub f { return $_[0] % 0 }", "1"),
    ("sub f { return sqrt -1 }", "1"),
    ("use feature 'signatures'; sub f($x, $y) { return 1 }", "1"),
    ("sub f { require Not::There }", "1"),
    ("use Not::There; sub f { return 1 }", "1"),
    ("die 'at load'; sub f { return 1 }", "1"),
    ("my $f = sub { 1 };", "1"),
    ("use strict; $undeclared = 1; sub f { return 1 }", "1"),
    ("sub f { return 1 }}", "1"),
    ("sub f { return 'unfinished }", "1"),
    ("sub f { if (1) return 1 }", "1"),
    ("exit 3;", "1"),
)  # fmt: skip

_SHOW = r"""
sub azr_show {
  my ($v) = @_;
  return 'undef' unless defined $v;
  return '[' . join(', ', map { azr_show($_) } @$v) . ']' if ref $v eq 'ARRAY';
  return '{' . join(', ', map { azr_show($_) . ' => ' . azr_show($v->{$_}) } sort keys %$v) . '}' if ref $v eq 'HASH';
  return '\\' . azr_show($$v) if ref $v;
  return sprintf '%.17g', $v if "$v" =~ /^-?\d/ && "$v" != $v;
  (my $s = "$v") =~ s/([^ -~]|["\\\$\@])/sprintf '\x{%x}', ord $1/ge;
  return "\"$s\"";
}
"""


def as_file(source: str, text: str) -> str:
    """`source` with an end that prints f's value."""
    return f'{source}\n;{_SHOW}\nprint "value:(", join(", ", map {{ azr_show($_) }} f({text})), ")";\n'


def names(verdict, stderr: str) -> bool:
    """Whether the interpreter's standard error tells of the verdict's error."""
    if verdict.error_kind == "missing_function":
        return "Undefined subroutine &main::f" in stderr
    if verdict.error_kind in ("syntax", "HASH"):
        return True
    return verdict.message.split(" at ")[0].split("\n")[0] in stderr
