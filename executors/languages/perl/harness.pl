package main;
# Nothing of the harness is visible here: no pragma and no lexical variable.
sub Azr::run { eval $_[0] }

package Azr;
use strict;
no warnings;

# The program's handle STDERR: what it writes there is discarded, as its output is. Perl's own fatal messages still go to
# the descriptor, which is the reply's.
sub Azr::Nowhere::TIEHANDLE { bless [], $_[0] }
sub Azr::Nowhere::AUTOLOAD { 1 }

# Subroutines in lexical variables, because those with a name can be replaced; operators can't be, once compiled.
my $MAX_DEPTH = 100;
my ($UNSERIALISABLE, $TOO_LONG, $NOT_A_VALUE) = ([], [], []);
my ($class_of, $kind_of) = (\&Scalar::Util::blessed, \&Scalar::Util::reftype);
require Scalar::Util;
my ($culprit, $left);

my $refuse = sub { $culprit = $_[0]; die $UNSERIALISABLE };

# Values as text -------------------------------------------------------------------------------------------------------

my %ESCAPES = ("\n" => '\n', "\t" => '\t', "\r" => '\r', '"' => '\"', '\\' => '\\\\', '$' => '\$', '@' => '\@');
my $UTF8 = qr/[\xC2-\xDF][\x80-\xBF]|\xE0[\xA0-\xBF][\x80-\xBF]|[\xE1-\xEC\xEE\xEF][\x80-\xBF]{2}|\xED[\x80-\x9F][\x80-\xBF]
  |\xF0[\x90-\xBF][\x80-\xBF]{2}|[\xF1-\xF3][\x80-\xBF]{3}|\xF4[\x80-\x8F][\x80-\xBF]{2}/x;
# No-break and zero-width spaces and marks that change the direction of text.
my $INVISIBLE = qr/\xC2[\x80-\xA0\xAD]|\xE2\x80[\x8B-\x8F\xA8-\xAE]|\xE2\x81[\xA0-\xAF]|\xEF\xBB\xBF/;

my $bytes_text = sub {
  my ($bytes) = @_;
  return $bytes if length $bytes > 1 && $bytes !~ $INVISIBLE;
  return join '', map { sprintf '\x%02x', $_ } unpack 'C*', $bytes;
};

# The bytes of a string, unchanged if they are UTF-8, as in a program without `use utf8`; characters above 255 by number.
my $string_text = sub {
  my ($string) = @_;
  if ($string =~ /[^\x00-\xFF]/) {
    $string =~ s/([^\x20-\x7E]|["\\\$\@])/$ESCAPES{$1} || sprintf '\x{%x}', ord $1/ge;
  } else {
    utf8::downgrade($string);
    $string =~ s/($UTF8)|([^\x20-\x7E]|["\\\$\@])/$ESCAPES{$+} || $bytes_text->($+)/ge;
  }
  return "\"$string\"";
};

# A number with as many digits as it needs. Whether Perl prints an integer with an exponent depends on how it was made.
my $number_text = sub {
  my ($number) = @_;
  # On strings ^ returns as many bytes of 0.
  my $copy = $number;
  my $text = "$number";
  return $text if $text !~ /^-?\d[\x00-\x7F]*\z/ || ($copy ^ $copy) ne '0';
  return sprintf '%.0f', $number if $text =~ /e/ && abs $number < 1.8e19 && $number == int $number;
  return $text if $text == $number;
  for my $digits (16, 17) {
    $text = sprintf "%.${digits}g", $number;
    last if $text == $number;
  }
  return $text;
};

# In Perl a number equals the string that it prints: both are written as the number.
my $scalar_text = sub {
  my ($scalar) = @_;
  my $text = $number_text->($scalar);
  $text = "0" if $text eq "-0";
  return $text if length $text < 40 && $text =~ /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[+-]\d+)?\z/ && $text eq $number_text->(0 + $text);
  return $string_text->($text);
};

my $spend = sub { ($left -= length $_[0]) < 0 and die $TOO_LONG; $_[0] };

my $emit;
my $items = sub {
  my ($list, $depth) = @_;
  my @texts;
  for my $index (0 .. $#$list) {
    push @texts, $emit->($list->[$index], $depth);
    $left -= 2;
  }
  return join ', ', @texts;
};
$emit = sub {
  my ($value, $depth) = @_;
  return $spend->('undef') unless defined $value;
  unless (ref $value) {
    die $TOO_LONG if length $value > $left;
    return $spend->($scalar_text->($value));
  }
  $refuse->("more than $MAX_DEPTH levels") if $depth >= $MAX_DEPTH;
  my $class = $class_of->($value);
  $refuse->("an object of $class") if defined $class;
  my $kind = $kind_of->($value);
  $left -= 2;
  if ($kind eq 'ARRAY') {
    $refuse->('a tied array') if tied @$value;
    return '[' . $items->($value, $depth + 1) . ']';
  }
  if ($kind eq 'HASH') {
    $refuse->('a tied hash') if tied %$value;
    my @pairs;
    for my $key (sort keys %$value) {
      push @pairs, $spend->($scalar_text->($key)) . ' => ' . $emit->($value->{$key}, $depth + 1);
      $left -= 6;
    }
    return '{' . join(', ', @pairs) . '}';
  }
  if ($kind eq 'SCALAR' || $kind eq 'REF') {
    $refuse->('a tied scalar') if tied $$value;
    return '\\' . $emit->($$value, $depth + 1);
  }
  $refuse->("a reference to $kind");
};

# The text of a list: one value, or several or none, in parentheses if it is f's result.
my $list_text = sub {
  my ($list, $is_result, $max) = @_;
  # An estimate in bytes, with separators; the end checks exactly.
  $left = 4 * $max + 64;
  my $text = $items->($list, 0);
  $text = "($text)" if $is_result && @$list != 1;
  my $characters = $text;
  utf8::decode($characters);
  die $TOO_LONG if length $characters > $max;
  return $text;
};

# Values from text: only literals, nothing is run ----------------------------------------------------------------------

my %SIMPLE = (n => "\n", t => "\t", r => "\r", f => "\f", a => "\a", e => "\e", 0 => "\0");
my $fail = sub { die $NOT_A_VALUE };
my $read_list;
my $read_string = sub {
  my ($text) = @_;
  if ($$text =~ /\G'((?:[^'\\]|\\.)*)'/gcs) {
    my $string = $1;
    $string =~ s/\\(['\\])/$1/g;
    return $string;
  }
  $$text =~ /\G"/gc or $fail->();
  my $string = '';
  while (1) {
    if ($$text =~ /\G([^"\\\$\@]+)/gc) { $string .= $1 }
    elsif ($$text =~ /\G"/gc) { return $string }
    elsif ($$text =~ /\G\\x\{0*([0-9a-fA-F]{1,6})\}/gc) { hex $1 > 0x10FFFF and $fail->(); $string .= chr hex $1 }
    elsif ($$text =~ /\G\\x([0-9a-fA-F]{1,2})/gc) { $string .= chr hex $1 }
    elsif ($$text =~ /\G\\([ntrfae]|0(?![0-7]))/gc) { $string .= $SIMPLE{$1} }
    elsif ($$text =~ /\G\\([^\w\s]|\n)/gc) { $string .= $1 }
    else { $fail->() }
  }
};
my $skip = sub { ${$_[0]} =~ /\G(?:\s+|#[^\n]*(?:\n|\z))+/gc };

# The values of one expression: one, or those of a list in parentheses.
my $read_value;
$read_value = sub {
  my ($text, $depth) = @_;
  $depth > 2 * $MAX_DEPTH and $fail->();
  $skip->($text);
  return $1 if $$text =~ /\G([A-Za-z_]\w*)(?=\s*=>)/gc;
  return undef if $$text =~ /\Gundef\b(?!\s*\()/gc;
  if ($$text =~ /\G(?=["'])/gc) { return $read_string->($text) }
  if ($$text =~ /\G([+-]?)\s*(?=[\d.])/gc) {
    my $sign = $1;
    my $number;
    if ($$text =~ /\G0[xX]([0-9a-fA-F]{1,16})\b/gc) { $number = hex $1 }
    elsif ($$text =~ /\G0[bB]([01]{1,64})\b/gc) { $number = oct "0b$1" }
    elsif ($$text =~ /\G(?!0\d)((?:\d[\d_]*(?:\.(?!\.)[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?)(?![\w.])/gc) {
      ($number = $1) =~ tr/_//d;
      $number += 0;
    } else { $fail->() }
    return $sign eq '-' ? -$number : $number;
  }
  if ($$text =~ /\G\(/gc) { return @{$read_list->($text, ')', $depth + 1)} }
  if ($$text =~ /\Gqw\(([^()\\]*)\)/gc) { return split ' ', $1 }
  if ($$text =~ /\G\[/gc) { return $read_list->($text, ']', $depth + 1) }
  if ($$text =~ /\G\{/gc) {
    my $list = $read_list->($text, '}', $depth + 1);
    $fail->() if @$list % 2 || grep { ref $list->[2 * $_] } 0 .. $#$list / 2;
    return {@$list};
  }
  if ($$text =~ /\G\\/gc) {
    my @one = $read_value->($text, $depth + 1);
    @one == 1 or $fail->();
    return \(my $copy = $one[0]);
  }
  $fail->();
};
$read_list = sub {
  my ($text, $end, $depth) = @_;
  my @list;
  while (1) {
    $skip->($text);
    return \@list if $end eq '' ? $$text =~ /\G\z/gc : $$text =~ /\G\Q$end\E/gc;
    push @list, $read_value->($text, $depth);
    $skip->($text);
    next if $$text =~ /\G(?:,|=>)/gc;
    return \@list if $end eq '' ? $$text =~ /\G\z/gc : $$text =~ /\G\Q$end\E/gc;
    $fail->();
  }
};

# One expression and nothing else; in parentheses it may be a list, as f's result.
my $read_one = sub {
  my ($text) = @_;
  my @values = $read_value->($text, 0);
  $skip->($text);
  $$text =~ /\G\z/gc or $fail->();
  return \@values;
};

# Requests -------------------------------------------------------------------------------------------------------------

my $clean = sub {
  my ($text, $max) = @_;
  $text = substr $text, 0, 8 * $max;
  utf8::encode($text) if utf8::is_utf8($text);
  $text =~ s/($UTF8|[\x00-\x7F])|./defined $1 ? $1 : '?'/gse;
  utf8::decode($text);
  $text = substr $text, 0, $max;
  utf8::encode($text) if utf8::is_utf8($text);
  return $text;
};

my $failure = sub {
  my ($problem, $max_chars, $max) = @_;
  if (ref $problem && !defined $class_of->($problem)) {
    return ['unserialisable', $clean->($culprit, $max), "the value can't be written down"] if $problem == $UNSERIALISABLE;
    return ['output_limit', '', "the value has more than $max_chars characters"] if $problem == $TOO_LONG;
    return ['runtime_error', ref $problem, 'the exception is a reference'];
  }
  my $class = $class_of->($problem);
  # The program defines how its objects are shown.
  my $shown = eval { "$problem" };
  return ['runtime_error', $clean->(defined $class ? $class : 'die', $max), $clean->($shown, $max)];
};

my $evaluate = sub {
  my ($text, $max_chars, $max) = @_;
  *main::f = sub { die "an input can't call f: it is evaluated before and without the program\n" };
  my $list;
  # Both have to compile, or a text such as "1) + (2" would pass for an argument list.
  if (Azr::run("sub { f($text\n) }")) { $list = Azr::run("package main; [$text\n]") }
  if (ref $list ne 'ARRAY') {
    my $claim = $failure->($@, $max_chars, $max);
    die ['forbidden', $claim->[1], $clean->("the input can't be evaluated: $claim->[2]", $max)];
  }
  die ['forbidden', 'NotAValue', 'no argument list: f needs an argument'] unless @$list;
  return $list;
};

my $read_inputs = sub {
  my ($kind, $max_chars, $max, $inputs) = @_;
  my @lists;
  for my $text (@$inputs) {
    if ($kind eq 'expressions') { push @lists, $evaluate->($text, $max_chars, $max); next }
    pos($text) = 0;
    my $list = eval { $kind eq 'value' ? $read_one->(\$text) : $read_list->(\$text, '', 0) };
    die ['forbidden', 'NotAValue', 'not a value: input ' . @lists . ' is no literal']
      if !$list || ($kind ne 'value' && !@$list);
    push @lists, $list;
  }
  return \@lists;
};

my $load = sub {
  my ($source, $max_chars, $max) = @_;
  $Azr::started = 0;
  Azr::run("\$Azr::started = 1;\n#line 1 \"program.pl\"\n$source\n;1") if length $source;
  my $problem = $@;
  if (ref $problem || length $problem) {
    die ['syntax_error', 'syntax', $clean->($problem, $max)] unless $Azr::started || ref $problem;
    die $failure->($problem, $max_chars, $max);
  }
  die ['runtime_error', 'missing_function', 'the program defines no subroutine f'] unless defined &main::f;
};

my $answer = sub {
  my ($kind, $max_chars, $max, $source, $inputs) = @_;
  my $lists = $read_inputs->($kind, $max_chars, $max, $inputs);
  $load->($source, $max_chars, $max) if $kind eq 'evaluate';
  my @claim = ('ok', '', '');
  for my $list (@$lists) {
    my @result = @$list;
    if ($kind eq 'evaluate') {
      my $good = eval { @result = &{\&main::f}(@$list); 1 };
      die $failure->($@, $max_chars, $max) unless $good;
    }
    my $text = eval { $list_text->(\@result, $kind eq 'value' || $kind eq 'evaluate', $max_chars) };
    die $failure->($@, $max_chars, $max) unless defined $text;
    push @claim, $text;
  }
  return \@claim;
};

binmode STDIN;
my $data = do { local $/; <STDIN> };
my ($at, @fields) = (0);
my $line = sub {
  my $end = index $data, "\n", $at;
  my $number = substr $data, $at, $end - $at;
  $at = $end + 1;
  return $number;
};
for (1 .. $line->()) {
  my $length = $line->();
  push @fields, substr $data, $at, $length;
  $at += $length;
}
my ($kind, $max_chars, $max, $seed, $source, @inputs) = @fields;
open my $reply, '>&=', 2;
tie *STDERR, 'Azr::Nowhere';
$0 = 'program.pl';
undef $data;
my $claim = eval { $answer->($kind, $max_chars, $max, $source, \@inputs) };
if (!$claim) {
  $claim = $@;
  $claim = ['runtime_error', 'die', 'the program ended the harness'] unless ref $claim && !defined $class_of->($claim);
}
my $frame = scalar(@$claim) . "\n";
for my $index (0 .. $#$claim) { $frame .= length($claim->[$index]) . "\n" . $claim->[$index] }
for (my $sent = 0; $sent < length $frame;) {
  my $count = syswrite $reply, $frame, length($frame) - $sent, $sent;
  last unless $count;
  $sent += $count;
}
# Nothing of the program runs at its end.
kill 'KILL', $$;
exit 0;
