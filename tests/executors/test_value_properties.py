"""Random values of every kind that can be written: texts read back, and are equal where the interpreter says so.

One program holds the values as expressions and gives the one that it is asked for, which the pool writes down and reads
back. Another compares each with all others by the language's own equality. Both must tell the same story.
"""

from __future__ import annotations

import dataclasses
import json
import random

import pytest

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status

# Each call of f meets the program in a fresh process.
COUNT = {"python": 48, "javascript": 48, "lua": 32, "julia": 10}
LIMITS = Limits(wall_s=60.0, cpu_s=30.0, value_chars=20000)


@dataclasses.dataclass(frozen=True)
class Kind:
    """Expressions of one language.

    atoms; compounds, with places for parts. values: a program of {values} whose f gives the value of a number. rows:
    one whose f gives, for a number, a text of 1 for each value that is equal to it, else 0. joint:
    what stands between the values.
    """

    atoms: tuple[str, ...]
    compounds: tuple[str, ...]
    values: str
    rows: str
    joint: str = ", "


STRINGS = ('"a"', '"a b"', '"\\\\"', '"\\n\\t"', '"é"', '""', '"1"')
KINDS = {
    "python": Kind(
        (*STRINGS, "1", "-1", "1.0", "True", "False", "None", "10**30", "0.1", "1e300", "-0.0", "0.0", "float('inf')",
         "1+2j", "b'\\xff'", "b'a'", "()", "[]", "{}", "set()", "frozenset()"),
        ("[{0}, {1}]", "({0},)", "({0}, {1})", "{{'k': {0}, 1: {1}}}", "[{0}]", "{{1, 2, 'a'}}", "{{'a', 2, 1}}",
         "frozenset([(1, 2), 3])", "{{(1, 'x'): {0}}}"),
        "V = [{values}]\ndef f(k):\n    return V[k]",
        """
V = [{values}]
def typed(x):
    if type(x) is dict:
        return dict, sorted([(typed(k), typed(v)) for k, v in x.items()], key=str)
    if type(x) in (list, tuple):
        return type(x), [typed(v) for v in x]
    return (type(x), sorted([typed(v) for v in x], key=str)) if type(x) in (set, frozenset) else (type(x), str(x))
def f(k):
    return "".join("01"[V[k] == v and typed(V[k]) == typed(v)] for v in V)
""",
    ),
    "javascript": Kind(
        (*STRINGS, "1", "-1", "1.5", "-0", "0", "NaN", "Infinity", "true", "false", "null", "undefined", "10n", "-3n",
         "1e21", "1e-7", "[]", "({{}})", "new Map()", "new Set()"),
        ("[{0}, {1}]", "[{0}]", "({{ a: {0}, b: {1} }})", "({{ b: {1}, a: {0} }})", "({{ 'c d': {0} }})",
         "new Map([['k', {0}], [1, {1}]])", "new Set(['a', 1, 2n])", "new Set([2n, 1, 'a'])"),
        "const V = [{values}];\nfunction f(k) {{ return V[k]; }}",
        "const V = [{values}];\nconst same = require('util').isDeepStrictEqual;\n"
        "function f(k) {{ return V.map((v) => (same(V[k], v) ? 1 : 0)).join(''); }}",
    ),
    "racket": Kind(
        ('"a"', '"a b"', '"\\\\"', '"\\n\\t"', '"é"', '""', "1", "-1", "1.0", "1/3", "1e21", "+inf.0", "+nan.0", "-0.0",
         "0.0", "#t", "#f", "'a", "'|b c|", "#\\a", "#\\nul", '#"\\377"', "(void)", "'()", "1+2i", "(expt 7 60)",
         "'#:k"),
        ("(list {0} {1})", "(list {0})", "(vector {0} {1})", "(cons {0} {1})", "(hash 'k {0} 1 {1})",
         "(hash 1 {1} 'k {0})", "(set 1 'a \"b\")", "(set \"b\" 'a 1)", "(box {0})", "(hasheq 'a {0})"),
        "(define V (vector {values}))\n(define (f k) (vector-ref V k))",
        "(define V (vector {values}))\n(define (f k) (apply string-append (for/list ([v V]) "
        '(if (equal? v (vector-ref V k)) "1" "0"))))',
        " ",
    ),
    "julia": Kind(
        (*STRINGS, "1", "-1", "1.0", "true", "false", "nothing", "missing", "big(1)", "Int8(1)", "0x01", "1.5f0",
         "Float32[Inf, 1]", "Float16(0.5)", "-0.0", "0.0", "NaN", "Inf", "1//3", "1 + 2im", "'a'", ":a",
         'Symbol("true")',
         "1:3", "1:2:7", "0.0:0.1:1.0", "range(0, stop=1, length=7)", 'codeunits("ab")', "UInt8[0x61, 0x62]",
         "Int32(1):Int32(3)",
         "[Tuple(1:k) for k in 1:3]", "()", "Any[]", "Int[]", "[1 2; 3 4]", "reshape(1:4, 2, 2)", "Set([1, 2])",
         "Set([2, 1])",
         "(a = 1, b = 2)", "Dict{{String,Int}}()"),
        ("Any[{0}, {1}]", "({0}, {1})", "({0},)", "Dict{{Any,Any}}(1 => {0}, :k => {1})",
         "Dict{{Any,Any}}(:k => {1}, 1 => {0})",
         "({0} => {1})"),
        "const V = Any[{values}]\nf(k) = V[k + 1]",
        # A range, codeunits and the like are written as what they show, so they are compared as that.
        "const V = Any[{values}]\n"
        "shown(x) = x isa Base.CodeUnits || x isa Base.ReshapedArray ? Array(x) : x isa Tuple ? map(shown, x) : "
        "x isa Pair ? (shown(x.first) => shown(x.second)) : x isa Vector{{Any}} ? Any[shown(y) for y in x] : "
        "x isa Dict ? Dict{{Any,Any}}(k => shown(v) for (k, v) in x) : x\n"
        "kind(x) = x isa Tuple ? map(kind, x) : x isa Pair ? (kind(x.first), kind(x.second)) : "
        "x isa Vector{{Any}} ? Any[kind(y) for y in x] : "
        "x isa Dict ? Dict{{Any,Any}}(k => kind(v) for (k, v) in x) : x isa Array ? eltype(x) : typeof(x)\n"
        "same(a, b) = isequal(a, b) && isequal(kind(a), kind(b))\n"
        'f(k) = join([same(shown(V[k + 1]), shown(v)) ? "1" : "0" for v in V])',
    ),
    "lua": Kind(
        (*STRINGS, "1", "-1", "1.0", "1.5", "true", "false", "math.huge", "math.mininteger", "1e100", "{{}}",
         '"\\xff"'),
        ("{{{0}, {1}}}", "{{{0}}}", "{{a = {0}, b = {1}}}", "{{b = {1}, a = {0}}}", '{{["c d"] = {0}}}',
         "{{[true] = {0}, [2.5] = {1}}}"),
        "local V = {{{values}}}\nfunction f(k) return V[k + 1] end",
        """
local V = {{{values}}}
local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b and math.type(a) == math.type(b) end
  for key in pairs(a) do if not same(a[key], b[key]) then return false end end
  for key in pairs(b) do if a[key] == nil then return false end end
  return true
end
function f(k)
  local row = {{}}
  for i, v in ipairs(V) do row[i] = same(V[k + 1], v) and "1" or "0" end
  return table.concat(row)
end
""",
    ),
    "ocaml": Kind(
        ("I 1", "I (-1)", "I max_int", "F 1.", "F 0.1", "F infinity", "F 1e300", 'S "a"', 'S "a b"', 'S "\\n\\\\"',
         'S "é"', 'S ""',
         "C 'a'", "C '\\n'", "B true", "B false", "U ()", "L []", "A [||]", "N 1L", "O None"),
        ("L [{0}; {1}]", "L [{0}]", "P ({0}, {1})", "A [|{0}; {1}|]", "O (Some ({0}))",
         "R {{ left = {0}; right = {1} }}"),
        "type v = I of int | F of float | S of string | C of char | B of bool | U of unit | N of int64 | L of v list\n"
        "  | A of v array | P of v * v | O of v option | R of r\nand r = {{ left : v; right : v }}\n"
        "let values = [| {values} |]\nlet f k = values.(k)",
        "type v = I of int | F of float | S of string | C of char | B of bool | U of unit | N of int64 | L of v list\n"
        "  | A of v array | P of v * v | O of v option | R of r\nand r = {{ left : v; right : v }}\n"
        "let values = [| {values} |]\nlet f k = String.concat \"\" (Array.to_list (Array.map (fun v ->\n"
        '  if compare v values.(k) = 0 then "1" else "0") values))',
        "; ",
    ),
    "r": Kind(
        (*STRINGS, "1", "-1", "1L", "0", "-0", "0.1", "TRUE", "NA", "NA_integer_", "NA_character_", "NaN", "Inf",
         "1e300", "NULL",
         "c(1, 2)", "c(a = 1, b = 2)", "1:3", "integer(0)", "character(0)", "list()",
         "complex(real = 1, imaginary = 2)",
         "as.raw(c(1, 255))", "matrix(1:4, 2)", "factor(c('x', 'y'))"),
        ("list({0}, {1})", "list({0})", "list(a = {0}, {1})", "structure(list({0}), class = 'k')",
         "data.frame(p = 1:2, q = c('x', 'y'))"),
        "V <- list({values})\nf <- function(k) V[[k + 1]]",
        "V <- list({values})\nf <- function(k) {{\n  same <- vapply(V, identical, NA, V[[k + 1]])\n"
        "  paste(as.integer(same), collapse = '')\n}}",
    ),
    "ruby": Kind(
        (*STRINGS, "1", "-1", "1.0", "-0.0", "0.0", "true", "false", "nil", "10**30", "0.1", "1e300", "Float::INFINITY",
         "Rational(1, 3)", "Complex(1, 2)", ":a", ':"b c"', "(1..3)", "(1...3)", "[]", "{{}}", '"\\xff".b'),
        ("[{0}, {1}]", "[{0}]", "{{ 'k' => {0}, 1 => {1} }}", "{{ 1 => {1}, 'k' => {0} }}", "{{ a: {0} }}",
         "[{0}, [{1}]]"),
        "V = [{values}]\ndef f(k) = V[k]",
        # -0.0.eql?(0.0) is true before Ruby 3.4.
        "V = [{values}]\n"
        "def same(a, b)\n"
        "  return false unless a.class == b.class\n"
        "  case a\n"
        "  when Array then a.size == b.size && a.zip(b).all? {{ |x, y| same(x, y) }}\n"
        "  when Hash then a.size == b.size && a.all? {{ |key, x| b.key?(key) && same(x, b[key]) }}\n"
        "  when Float then [a].pack('G') == [b].pack('G')\n"
        "  else a.eql?(b)\n"
        "  end\n"
        "end\n"
        "def f(k) = V.map {{ |v| same(V[k], v) ? '1' : '0' }}.join",
    ),
    "perl": Kind(
        ('"a"', '"a b"', '"\\\\"', '"\\n\\t"', '""', '"1"', '"1.0"', "1", "-1", "1.5", "0.1", "1e300", "10**30",
         "undef", "9**20", '"\\x{{263a}}"', "[]", "{{}}", "-9**9**9"),
        ("[{0}, {1}]", "[{0}]", "{{ k => {0}, l => {1} }}", "{{ l => {1}, k => {0} }}", "\\{0}"),
        "my @V = ({values});\nsub f {{ return $V[$_[0]] }}",
        "my @V = ({values});\n"
        "sub same {{\n"
        "  my ($a, $b) = @_;\n"
        "  return defined $a == defined $b if !defined $a || !defined $b;\n"
        "  return 0 if ref $a ne ref $b;\n"
        "  return $a eq $b if !ref $a;\n"
        "  return @$a == @$b && !grep {{ !same($a->[$_], $b->[$_]) }} 0 .. $#$a if ref $a eq 'ARRAY';\n"
        "  return keys %$a == keys %$b && !grep {{ !exists $b->{{$_}} || !same($a->{{$_}}, $b->{{$_}}) }} keys %$a\n"
        "    if ref $a eq 'HASH';\n"
        "  return same($$a, $$b);\n"
        "}}\n"
        "sub f {{ my ($k) = @_; return 's' . join '', map {{ same($V[$k], $_) ? 1 : 0 }} @V }}",
    ),
    "php": Kind(
        (*STRINGS, "1", "-1", "1.0", "true", "false", "null", "0.1", "1e300", "INF", "-0.0", "0.0", "PHP_INT_MIN",
         '"\\xff"', "[]"),
        ("[{0}, {1}]", "[{0}]", "['k' => {0}, 1 => {1}]", "[1 => {1}, 'k' => {0}]", "[2 => {0}]"),
        "const V = [{values}];\nfunction f($k) {{ return V[$k]; }}",
        # === has 0.0 and -0.0 equal.
        "const V = [{values}];\n"
        "function f($k) {{\n"
        "  return implode('', array_map(fn($v) => serialize(V[$k]) === serialize($v) ? '1' : '0', V));\n"
        "}}",
    ),
    "scheme": Kind(
        ('"a"', '"a b"', '"\\\\"', '"\\n\\t"', '"é"', '""', "1", "-1", "1.0", "1/3", "1e21", "(inf)", "-0.0", "0.0",
         "#t", "#f", "'a", "(string->symbol \"b c\")", "#\\a", "#\\nul", "'()", "1+2i", "(expt 7 60)", "#vu8(1 255)"),
        ("(list {0} {1})", "(list {0})", "(vector {0} {1})", "(cons {0} {1})"),
        "(define V (vector {values}))\n(define (f k) (vector-ref V k))",
        "(define V (vector {values}))\n(define (f k) (apply string-append (map (lambda (v) "
        '(if (equal? v (vector-ref V k)) "1" "0")) (vector->list V))))',
        " ",
    ),
}  # fmt: skip


def expressions(kind: Kind, seed: int, count: int) -> list[str]:
    draw = random.Random(seed)

    def expression(depth: int) -> str:
        if depth == 0 or draw.random() < 0.4:
            return draw.choice(kind.atoms).replace("{{", "{").replace("}}", "}")
        return draw.choice(kind.compounds).format(expression(depth - 1), expression(depth - 1))

    return [expression(draw.randrange(3)) for _ in range(count)]


def indexes(name: str, count: int) -> tuple[str, ...]:
    """The numbers as the language's integers."""
    return tuple(f"{number}L" if name == "r" else str(number) for number in range(count))


@pytest.mark.parametrize(
    "name",
    [name if name in ("python", "javascript", "lua") else pytest.param(name, marks=pytest.mark.ci) for name in KINDS],
)
def test_texts_are_equal_where_the_language_says_so(name):
    language, kind, count = LANGUAGES[name], KINDS[name], COUNT.get(name, 24)
    if language.find() is None:
        pytest.skip(f"{name} is not installed: {language.install_hint}")
    with Pool(name, workers=1, limits=LIMITS) as pool:
        for seed in (1, 2):
            given = expressions(kind, seed, count)
            values, rows = (text.format(values=kind.joint.join(given)) for text in (kind.values, kind.rows))
            written = pool.submit(Job("values", JobKind.EVALUATE, values, indexes(name, count), together=True)).result()
            # What is not read back as itself would be `unserialisable`.
            assert written.status is Status.OK, (seed, written.status, written.error_kind, written.message)
            compared = pool.submit(Job("rows", JobKind.EVALUATE, rows, indexes(name, count), together=True)).result()
            assert compared.status is Status.OK, (seed, compared.status, compared.error_kind, compared.message)
            for expression, text, row in zip(given, written.values, compared.values, strict=True):
                told = row.strip("\"'").removeprefix("s")
                for other, other_text, equal in zip(given, written.values, told, strict=True):
                    assert (text == other_text) is (equal == "1"), json.dumps(
                        [name, expression, other, text, other_text]
                    )
