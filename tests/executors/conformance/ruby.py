"""Ruby's part of test_conformance.py."""

from executors import Status

VALUES = r"""
require 'set'
MADE = {
  arithmetic: [7 / 2, -7 / 2, -7 % 3, 2**10, 2**-1, 1.0 / 4, 0.1 + 0.2, 5e-324, 7 | 8, 3.7.floor],
  boolean: [true, false, 1 < 2],
  nothing: nil,
  empty: ["", [], {}, Set.new],
  unicode: "é😀\t\n\"'\#{x}",
  nul: "a\0b",
  invalid_utf8: "a\xff",
  nan: Float::NAN,
  negative_zero: -0.0,
  infinity: [Float::INFINITY, -Float::INFINITY],
  "1e22": 1e22,
  big_integer: 3**60,
  nested: [[1, [2.5, { a: [3] }]], { "b" => { c: [nil, :"d e"] } }, 1..3, ("a"...), 1/3r, 2i],
  set: Set[3, 1, "b", "a"],
  hash: Hash.new(0).merge({ "z" => 1, a: 2, -3 => 4, nil => 5, [1] => 6 }),
}
def f(name)
  MADE[name.to_sym]
end
"""
CASES = {
    "arithmetic": "[3, -4, 2, 1024, Rational(1, 2), 0.25, 0.30000000000000004, 5.0e-324, 15, 3]",
    "boolean": "[true, false, true]",
    "nothing": "nil",
    "empty": '["", [], {}, Set[]]',
    "unicode": '"é😀\\t\\n\\"\'\\#{x}"',
    "nul": '"a\\u0000b"',
    "invalid_utf8": '"a\\xFF"',
    "nan": "Float::NAN",
    "negative_zero": "-0.0",
    "infinity": "[Float::INFINITY, -Float::INFINITY]",
    "1e22": "1.0e+22",
    "big_integer": str(3**60),
    "nested": '[[1, [2.5, {:a => [3]}]], {"b" => {:c => [nil, :"d e"]}}, (1..3), ("a"...), Rational(1, 3), '
    "Complex(0, 2)]",
    "set": 'Set["a", "b", 1, 3]',
    "hash": '{"z" => 1, -3 => 4, :a => 2, [1] => 6, nil => 5}',
}
CASES = {name: (VALUES, f'"{name}"', value) for name, value in CASES.items()}
ABSENT: dict[str, str] = {}

DISTINCT = ("1", "1.0", "true", '"1"', "[1]", ":a", '"a"', "0", "0.0", "-0.0", "false", "nil", '"nil"', '""', "[]",
            "{}", "Set[]", "Float::NAN", "Rational(1, 1)", "Complex(1, 0)", "(1..2)", "(1...2)", '"\\xFF"',
            '"\\xFF".b')  # fmt: skip
SAME = (
    ("[1,2]", "[ 1, 2, ]"),
    ('{b: 1, "a" => 2}', '{"a"=>2, :b=>1}'),
    ("0x10", "16"),
    ("'a'", '"\\x61"'),
    ("%w[a b]", '["a", "b"]'),
    ("1_000", "1000"),
    ("-Float::NAN", "Float::NAN"),
    ("Set[2, 1]", "Set[1, 2]"),
    ("2r", "Rational(2)"),
    ("(1)", "1"),
)
NOT_VALUES = ("1) or true #", "1 || 2", "x", "puts(1)", "->{}", "exit", "1; 2", "", "1 + 1", "[f()]", "1, 2", "a: 1",
              '"#{1}"', "/a/", "*[1]", "[1][0]", "`ls`", "1\n__END__", "Float::DIG", "1) { 2", "[" * 300)  # fmt: skip

ERRORS = {
    "syntax": ("def f(x", "0", Status.SYNTAX_ERROR),
    "raised": ("def f(x) = raise('no')", "0", Status.RUNTIME_ERROR),
    "raised_at_load": ("raise 'no'\ndef f(x) = 1", "0", Status.RUNTIME_ERROR),
    "unbound": ("def f(x) = y", "0", Status.RUNTIME_ERROR),
    "no_f": ("g = 1", "0", Status.RUNTIME_ERROR),
    "exit": ("def f(x) = exit(3)", "0", Status.EXIT),
    "deep_recursion": ("def f(x) = f(x) + 1", "0", Status.RUNTIME_ERROR),
    "endless": ("def f(x)\n  while true do end\nend", "0", Status.TIMEOUT),
    "asleep": ("def f(x) = sleep", "0", Status.TIMEOUT),
    "memory": ("def f(x)\n  t = []\n  loop { t << 'x' * 100_000 }\nend", "0", Status.MEMORY),
    "too_long": ("def f(x) = 'x' * 5000", "0", Status.OUTPUT_LIMIT),
    "function": ("def f(x) = method(:f)", "0", Status.UNSERIALISABLE),
    "cycle": ("def f(x)\n  t = []\n  t << t\nend", "0", Status.UNSERIALISABLE),
}

_LIE = (
    "Class.new { def ==(_) = true; def to_s = '42'; def inspect = '42'; def class = Integer; def hash = 42.hash }.new"
)
LIARS = (
    (f"def f(x) = {_LIE}", "0", "42"),
    ("def f(x) = '42'", "0", "42"),
    ("def f(x) = 42.0", "0", "42"),
    ("def f(x) = [42]", "0", "42"),
    ("class Integer\n  def to_s(*) = '42'\n  alias inspect to_s\n  def ==(_) = true\n  def >(_) = false\n"
     "  def +(_) = 42\nend\ndef f(x) = 7", "0", "42"),
    ("class String\n  def <<(_) = replace('42')\n  def length = 2\n  def inspect = '42'\nend\n"
     "class Array\n  def each = yield(42)\nend\ndef f(x) = [7]", "0", "42"),
    ("[UnboundMethod, Method].each do |type|\n  type.class_eval { def bind_call(*) = '42' } rescue nil\nend\n"
     "AzrHarness.define_singleton_method(:emit) { |*| '42' } rescue nil\n"
     "AzrHarness.send(:remove_const, :KINDS) rescue nil\n"
     "ObjectSpace.each_object(UnboundMethod) { |m| m.define_singleton_method(:bind_call) { |*| '42' } rescue nil }\n"
     "def f(x) = 7", "0", "42"),
    ("module Kernel\n  def class = Integer\n  def raise(*) = nil\nend\ndef f(x) = Object.new", "0", "42"),
    ("class Wrong < Array\n  def class = Array\nend\ndef f(x) = Wrong.new([42])", "0", "[42]"),
    ("def f(x)\n  at_exit { IO.for_fd(3).syswrite(\"4\\n2\\nok0\\n0\\n2\\n42\") }\n  exit(0)\nend", "0", "42"),
)  # fmt: skip
NONDETERMINISTIC = (
    ("def f(x) = rand", "0"),
    ("def f(x) = Time.now.to_f", "0"),
    ("def f(x) = 'a'.hash", "0"),
    ("def f(x) = [3, 1, 2].shuffle + (1..50).to_a.shuffle", "0"),
    ("def f(x) = Time.now.utc.strftime('%A')", "0"),
    ("def f(x) = Time.now.to_i / 86400", "0"),
)
DETERMINISTIC = (
    ('def f(x) = x.map { |k, v| "#{k}#{v}" }.join', "{b: 1, a: 2}"),
    ("def f(x) = x.to_set.to_a", "[3, 1, 3, 2]"),
    ("def f(x) = Random.new(x).rand(1000)", "7"),
)

PROGRAMS = (
    ("def f(x) = g(x)\ndef g(x) = x + 1", "2"),
    ("f = 5\ndef f(x) = x * 2", "2"),
    ("y = 5\ndefine_method(:f) { |x| x + y }", "2"),
    ("y = 5\ndefine_singleton_method(:f) { |x| x + y }", "2"),
    ("#!/usr/bin/env ruby\n# frozen_string_literal: true\ndef f(x) = 'a'.frozen?", "0"),
    ("def f(x, y = x * 2, *rest, key: 7, **named, &block) = [x, y, rest, key, named, block]", "3, key: 1, other: 2"),
    ("def f(x) = x", "{a: 1}"),
    ("def f(**named) = named", "a: 1, b: [2]"),
    ("def f(*all) = all", "1, {a: 1}"),
    ("$count = 0\ndef f(x)\n  $count += x\nend", "4"),
    ("@seen = [1]\ndef f(x) = @seen << x", "4"),
    ("def f(x) = [x / 2, x % 3, x**2, x.fdiv(2), -x / 2, x.divmod(-3), x & 6, x | 8, x ^ 1, ~x, x << 3]", "7"),
    ("def f(x) = [1 == 1.0, 1.eql?(1.0), 1 <=> 2, 2**100, 10.digits, 3.14.round(1), 1e20.to_i]", "0"),
    ("def f(x) = [x.upcase, x.reverse, x[1..2], x.bytes, x.chars.tally, x.index('l'), x * 2, x.sub(/l+/) { "
     "$&.size.to_s }]",
     "'hello'"),
    ("def f(x) = [x.length, x.bytesize, x.codepoints, x.encoding.to_s, x.upcase]", "'é😀'"),
    ("def f(x) = format('%05.2f|%-5s|%x|%p|%+d', x, 'ab', 255, nil, 3)", "3.14159"),
    ("def f(x) = x.scan(/(\\w+)=(\\w+)/).to_h", "'a=1, b=2'"),
    ("def f(x) = x.gsub(/[aeiou]/, 'a' => '1', 'e' => '2')", "'abcde'"),
    ("def f(x) = x.each_slice(2).to_a + x.each_cons(2).map(&:sum)", "[1, 2, 3, 4]"),
    ("def f(x) = [x.sort.reverse, x.minmax, x.partition(&:even?), x.group_by { |n| n % 3 }, x.inject(:*), x.zip(x)]",
     "[3, 1, 2]"),
    ("def f(x) = (1..Float::INFINITY).lazy.map { |n| n * x }.select(&:even?).first(3)", "3"),
    ("def f(x) = x.sort_by { |k, v| [-v, k] }.first(2).to_h.transform_values { _1 + 1 }", "{a: 1, b: 3, c: 3}"),
    ("def f(x)\n  case x\n  in {name: String => name, tags: [first, *]} then [name, first]\n"
     "  in Integer | Float then 0\n"
     "  else nil\n  end\nend", "{name: 'n', tags: [1, 2]}"),
    ("def f(x)\n  case x\n  when 1..5 then 'low'\n  when /b/ then 'b'\n  else 'other'\n  end\nend", "3"),
    ("P = Struct.new(:a, :b) do\n  def sum = a + b\nend\ndef f(x) = P.new(x, 2).sum", "1"),
    ("class A\n  attr_accessor :n\n  def initialize(n) = @n = n\n  def <=>(o) = n <=> o.n\n  include Comparable\nend\n"
     "def f(x) = [A.new(x) > A.new(1), A.new(1) == A.new(1), A.new(3).clamp(A.new(1), A.new(2)).n]", "2"),
    ("module M\n  def hi = \"hi #{name}\"\nend\nclass B\n  include M\n  def name = 'b'\n"
     "  def method_missing(n, *a) = [n, a]\n"
     "  def respond_to_missing?(*) = true\nend\n"
     "def f(x) = [B.new.hi, B.new.other(x), B.ancestors.first(2).map(&:to_s)]",
     "2"),
    ("def gen\n  return to_enum(:gen) unless block_given?\n  yield 1\n  yield 2\nend\n"
     "def f(x) = gen.map { |n| n * x }", "5"),
    ("def f(x)\n  e = Enumerator.new { |y| 3.times { |i| y << i * x } }\n  [e.next, e.next, e.size]\nend", "5"),
    ("def f(x)\n  fiber = Fiber.new { |a| b = Fiber.yield(a + 1); b * 2 }\n"
     "  [fiber.resume(x), fiber.resume(10)]\nend", "5"),
    ("def f(x)\n  catch(:done) { 10.times { |i| throw :done, i if i == x }; :never }\nend", "4"),
    ("def f(x)\n  Integer(x)\nrescue ArgumentError => e\n  e.message\nelse\n  'fine'\nensure\n  $x = 1\nend", "'z'"),
    ("def f(x)\n  n = 0\n  begin\n    n += 1\n    raise 'again' if n < x\n  rescue\n    retry\n  end\n  n\nend", "3"),
    ("class Array\n  def second = self[1]\nend\nclass Integer\n  def double = self * 2\nend\n"
     "def f(x) = x.second.double",
     "[1, 2]"),
    ("using Module.new { refine(String) { def shout = upcase + '!' } }\ndef f(x) = x.shout", "'a'"),
    ("def f(x) = eval('1 + 2 * x')", "3"),
    ("def f(x) = <<~TEXT\n  a\n    b #{x}\nTEXT", "3"),
    ("require 'set'\nrequire 'json'\ndef f(x) = JSON.parse(JSON.generate(x.to_a)) + Set.new([1, 1]).to_a", "[1, "
     "nil, 'a']"),
    ("require 'prime'\nrequire 'matrix'\ndef f(x) = [x.prime?, Prime.first(3), 12.prime_division, Matrix[[1, "
     "2], [3, 4]].det]",
     "7"),
    ("require 'bigdecimal'\ndef f(x) = (BigDecimal('0.1') + BigDecimal('0.2')).to_s", "0"),
    ("BEGIN { $order = [1] }\n$order << 2\nEND { $order << 3 }\ndef f(x) = $order", "0"),
    ("def f(x) = [__method__, defined?(x), defined?(zzz), __FILE__ == $0, self.to_s]", "0"),
    ("if __FILE__ == $PROGRAM_NAME\n  $main = 'yes'\nend\ndef f(x) = $main", "0"),
    ("def f(x)\n  puts 'noise'\n  warn 'noise'\n  $stdout.print x\n  x\nend", "1"),
    ("def f(x) = x.frozen? ? x : x << 'more'", "'a'"),
    ("def f(x)\n  x[:new] = x.size\n  x.delete(:k)\n  x\nend", "{k: 'v', z: 1}"),
    ("def f(x) = x.then { |a, *b| [a, b] } + [*1..3, *nil]", "[1, 2]"),
    ("def f(x) = Thread.new { x + 1 }.value", "1"),
    ("def f(x) = x.a.b", "{}"),
    ("def f(x) = x + {}", "1"),
    ("def f(x) = nothing(x)", "1"),
    ("def f(x) = raise(ArgumentError)", "1"),
    ("class Odd < StandardError\n  def message = 'told'\nend\ndef f(x) = raise(Odd)", "1"),
    ("def f(x) = raise('with text: ' + x)", "'p'"),
    ("def f(x) = 1 / 0", "1"),
    ("def f(x) = [1].fetch(x)", "9"),
    ("def f(x) = Integer('z')", "1"),
    ("def f() = 1", "1"),
    ("def f(x) = require('not/there')", "1"),
    ("raise 'at load'\ndef f(x) = 1", "1"),
    ("f = ->(x) { x }", "1"),
    ("x = = 1\ndef f(x) = 1", "1"),
    ("def f(x)\n  1\nend end", "1"),
    ("def f(x) = 'unfinished\nend", "1"),
    ("def f(x)\n  break\nend", "1"),
    ("exit 3", "1"),
    ("abort", "1"),
)  # fmt: skip


def as_file(source: str, text: str) -> str:
    """`source` with an end that prints f's value."""
    return f'{source}\n$stdout.print("value:", f({text}).inspect)\n'


def names(verdict, stderr: str) -> bool:
    """Whether the interpreter's standard error tells of the verdict's error."""
    if verdict.error_kind == "missing_function":
        return "undefined method `f'" in stderr
    return verdict.error_kind == "syntax" or verdict.message.split("\n")[0] in stderr
