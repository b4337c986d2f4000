"""Perl: Test::Deep's eq_deeply."""

from __future__ import annotations

import re

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Form, Outcome, by_templates, replay_by_template

# A new f that makes the call of a given number, and otherwise is the program's own f. A call is made in list context,
# as in eq_deeply's arguments, and its results are passed in an array.
_COLLECT = """{{program}}
;
package main;
{
no strict; no warnings;
my $azr_own = defined &main::f ? \\&main::f : undef;
my $candidate = \\&{{function}};
*main::f = sub {
if (@_ == 1 && ref $_[0] eq 'ARRAY' && @{$_[0]} == 2 && $_[0][0] eq 'azr-call') {
my $azr_call = $_[0][1];
{{cases}}
}
defined $azr_own or die 'Undefined subroutine &main::f called';
goto &$azr_own;
};
}
"""
# The equality of Test::Deep 1.2's eq_deeply on values without a class: strings, undef only to itself, arrays and hashes
# by their elements. No result is undef, and several are equal to nothing.
_COMPARE = """my @expected = (
{{expected}});
sub same {
  my ($got, $wanted) = @_;
  return !defined $got && !defined $wanted if !defined $got || !defined $wanted;
  return ref $got eq ref $wanted && !ref $got && $got eq $wanted unless ref $got && ref $got eq ref $wanted;
  if (ref $got eq 'ARRAY') {
    return @$got == @$wanted && !grep { !same($got->[$_], $wanted->[$_]) } 0 .. $#$got;
  }
  if (ref $got eq 'HASH') {
    return 0 if keys %$got != keys %$wanted;
    return !grep { !exists $wanted->{$_} || !same($got->{$_}, $wanted->{$_}) } keys %$got;
  }
  return same($$got, $$wanted);
}
sub f {
  my ($list) = @_;
  my $next = shift @expected;
  return @$list < 2 && same($list->[0], scalar eval { $next->() }) ? 1 : 0;
}
"""

# A call is recorded with its context, which a subroutine can tell. The tests keep the pragmas of the program: without
# `use strict`, what is no reference would be an empty one.
_REPLAY = """{{program}}
;
package main;
sub azr_tests {
{{tests}}
;
!$INC{'Test/More.pm'} || Test::More->builder->is_passing or die 'a test of Test::More failed';
}
{
no strict; no warnings;
use Storable ();
our $azr_inside = 0;
my ($azr_count, $azr_at, @azr_calls) = ({{count}}, 0);
my $azr_real = \\&{{name}};
*main::{{name}} = sub {
if ($azr_count) { my $azr_list = $azr_calls[$azr_at++]; return wantarray ? @$azr_list : $azr_list->[-1] }
goto &$azr_real if $main::azr_inside;
push @azr_calls, [wantarray ? 1 : 0, Storable::dclone([@_])];
local $main::azr_inside = 1;
return $azr_real->(@_);
};
azr_tests() if !$azr_count;
*main::f = sub {
my ($azr_value) = @_;
return $azr_value < 0 ? scalar @azr_calls : $azr_calls[$azr_value] if !$azr_count;
push @azr_calls, $azr_value;
return 1 if @azr_calls < $azr_count;
azr_tests();
return $azr_at == $azr_count ? 1 : 0;
};
}
"""
_CALL = """do {
my $azr = {{arguments}};
$azr->[0] ? $candidate->(@{$azr->[1]}) : scalar $candidate->(@{$azr->[1]})
}"""


def _word(outcome: Outcome) -> str:
    if outcome.timeout:
        return "Timeout"
    wrong = outcome.exit_code != 0 or "ERROR" in outcome.stdout or "ERROR" in outcome.stderr
    return "Exception" if wrong else "OK"


LANGUAGE = BenchmarkLanguage(
    name="perl",
    word=_word,
    form=Form(
        re.compile(
            r"\s*use Test::Deep;\s+sub testhumaneval \{\s*\n\s*my \$candidate = \\&([^;\n]+);\n(.*)\n\}\s+"
            r"testhumaneval\(\);\s*\Z",
            re.DOTALL,
        ),
        "if(eq_deeply(",
        re.compile(r",\s*"),
        re.compile(r'\)\) \{\s*print "ok!" \}else\{\s*exit 1;\s*\}'),
        "$candidate->(",
        quotes="\"'",
    ),
    instrument=by_templates(
        collect=_COLLECT,
        case="if ($azr_call == {{number}}) { return [{{call}}] }",
        compare=_COMPARE,
        expected="sub { {{expected}} }",
        call_input="['azr-call', {{number}}]",
        right="1",
    ),
    replay=replay_by_template(_REPLAY, _CALL),
    wrong_body="    return undef;\n}\n",
    print_mark='print "{{mark}}\\n";',
)
