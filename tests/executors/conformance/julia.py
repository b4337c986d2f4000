"""Julia's part of test_conformance.py."""

from executors import Status

SLOW_START = True
SAMPLE = 8

VALUES = """
const made = Dict{String,Any}(
    "arithmetic" => (7 ÷ 2, -7 ÷ 2, mod(-7, 3), 2^10, 1 / 4, 6 // 4, 0.1 + 0.2, 5e-324, 7 | 8),
    "boolean" => [true, false, 1 < 2],
    "nothing" => (nothing, missing),
    "empty" => ("", Int[], (), Dict{String,Int}(), Set{Int}()),
    "unicode" => "é😀\\t\\n\\"'",
    "nul" => "a\\0b",
    "invalid_utf8" => "a\\xff",
    "nan" => NaN,
    "negative_zero" => -0.0,
    "infinity" => [Inf, -Inf],
    "1e22" => 1e22,
    "big_integer" => -big(7)^40,
    "nested" => (1, ([2.5], Dict("a" => [3])), (b = 'c',)),
    "set" => Set([3, 1, 2]),
    "hash" => Dict("z" => 1, "a" => 2),
)
f(name) = made[name]
"""
CASES = {
    "arithmetic": "(3, -3, 2, 1024, 0.25, 3//2, 0.30000000000000004, 5.0e-324, 15)",
    "boolean": "Bool[1, 0, 1]",
    "nothing": "(nothing, missing)",
    "empty": '("", Int64[], (), Dict{String, Int64}(), Set{Int64}())',
    "unicode": '"é😀\\t\\n\\"\'"',
    "nul": '"a\\0b"',
    "invalid_utf8": '"a\\xff"',
    "nan": "NaN",
    "negative_zero": "-0.0",
    "infinity": "[Inf, -Inf]",
    "1e22": "1.0e22",
    "big_integer": "-6366805760909027985741435139224001",
    "nested": "(1, ([2.5], Dict(\"a\" => [3])), (b = 'c',))",
    "set": "Set([1, 2, 3])",
    "hash": 'Dict("a" => 2, "z" => 1)',
}
CASES = {name: (VALUES, f'"{name}"', value) for name, value in CASES.items()}
ABSENT: dict[str, str] = {}

DISTINCT = ("1", "1.0", "true", "Int8(1)", "big(1)", "1//1", "0x01", "1f0", "1 + 0im", '"1"', "'1'", "[1]", "(1,)",
            "0", "0.0", "-0.0", "false", "nothing", "missing", "NaN", '""', "()")  # fmt: skip
SAME = (("[1,2]", "[1, 2]"), ("Set([2, 1])", "Set([1, 2])"), ('Dict("b" => 1, "a" => 2)', 'Dict("a" => 2, "b" => 1)'),
        ("1e1", "10.0"), ("4//6", "2//3"))  # fmt: skip
NOT_VALUES = ("1) or true #", "1 || true", "x", "println(1)", "x -> x", "exit()", "1; 2", "", "f(1)", "run(`ls`)",
              "[x for x in 1:2]", "@show 1")  # fmt: skip

ERRORS = {
    "syntax": ("f(x) = ((", "0", Status.SYNTAX_ERROR),
    "raised": ('f(x) = error("no")', "0", Status.RUNTIME_ERROR),
    "raised_at_load": ('error("no")\nf(x) = x', "0", Status.RUNTIME_ERROR),
    "unbound": ("f(x) = y", "0", Status.RUNTIME_ERROR),
    "no_f": ("g = 1", "0", Status.RUNTIME_ERROR),
    "exit": ("f(x) = exit(3)", "0", Status.EXIT),
    "deep_recursion": ("f(x) = f(x) + 1", "0", Status.RUNTIME_ERROR),
    "endless": ("f(x) = while true; end", "0", Status.TIMEOUT),
    "asleep": ("f(x) = sleep(60)", "0", Status.TIMEOUT),
    "memory": ("f(x) = zeros(10^9)", "0", Status.MEMORY),
    "too_long": ('f(x) = "a"^5000', "0", Status.OUTPUT_LIMIT),
    "function": ("f(x) = sin", "0", Status.UNSERIALISABLE),
    "cycle": ("f(x) = (a = Any[1]; push!(a, a); a)", "0", Status.UNSERIALISABLE),
}

LIARS = (
    ("struct L <: AbstractVector{Int} end\nBase.size(::L) = (1,)\nBase.getindex(::L, i::Int) = 42\nf(x) = L()", "0",
     "[42]"),
    ('struct N <: Integer end\nBase.show(io::IO, ::N) = print(io, 42)\nBase.:(==)(::N, ::Any) = true\nf(x) = N()', "0",
     "42"),
    ('f(x) = "42"', "0", "42"),
    ("f(x) = 42.0", "0", "42"),
)  # fmt: skip
NONDETERMINISTIC = (
    ("f(x) = rand(1:10^9)", "0"),
    ("f(x) = time_ns()", "0"),
    # The date, in UTC and here.
    ("using Dates\nf(x) = string(Date(now(UTC)))", "0"),
    ("using Dates\nf(x) = day(today())", "0"),
)
DETERMINISTIC = (('f(x) = Set(["b", "a"])', "0"),)

PROGRAMS = (
    ("f(x) = sum(x)", "[1, 2, 3]"),
    ("f(x) = 2x + 1", "20"),
    ("f(n) = n < 2 ? n : f(n - 1) + f(n - 2)", "15"),
    ("f(x) = g(x) + 1\ng(x) = 10x", "4"),
    ("const K = 3\nf(x) = x * K", "14"),
    (
        "struct P\n  a::Int\n  b::Int\nend\nf(v) = [abs(p.a) + abs(p.b) for p in [P(a, b) for (a, b) in v]]",
        "[(1, -2), (3, 4)]",
    ),
    (
        "mutable struct C\n  n::Int\nend\nfunction f(x)\n  c = C(0)\n  for i in 1:x\n    c.n += i\n  end\n  c.n\nend",
        "10",
    ),
    ('abstract type A end\nstruct B <: A end\nname(::A) = "A"\nname(::B) = "B"\nf(x) = name(B())', "0"),
    ('f(s) = join(reverse(split(s, " ")), " ")', '"one two three"'),
    ("f(s) = uppercase(s) * string(length(s))", '"héllo😀"'),
    ("f(s) = [c for c in s if isletter(c)]", '"a1b2"'),
    ("f(s) = sort(collect(s), rev=true)", '"hello"'),
    ('f(s) = replace(s, r"[aeiou]" => "*")', '"education"'),
    ('f(s) = [m.match for m in eachmatch(r"\\d+", s)] |> v -> String.(v)', '"a12b345"'),
    ("f(x) = map(y -> y^2, filter(isodd, x))", "[1, 2, 3, 4, 5]"),
    ("f(x) = foldl((a, b) -> 10a + b, x)", "[1, 2, 3]"),
    ("f(x) = x .* 2 .+ 1", "[1.5, 2.5]"),
    ("f(x) = [i * j for i in 1:x, j in 1:x]", "3"),
    ("f(x) = (x, x / 2, x ÷ 2, x % 2, x // 2)", "7"),
    ("f(x) = (0.1 + 0.2, -0.0, NaN, Inf, 1e22, 5e-324, 1f-3)", "0"),
    ("f(x) = typemax(Int) + x", "1"),
    ("f(x) = factorial(big(x))", "30"),
    ("f(x) = (x, float(x), UInt8(x), Int8[x], true)", "5"),
    ("f(x) = nothing", "0"),
    ("f(x) = [1, nothing, missing]", "0"),
    ('f(x) = (a = x, b = "y")', "1"),
    ("f(x) = isequal(missing, missing) && ismissing(missing + x)", "1"),
    ("function f(x)\n  s = 0\n  while true\n    s += x\n    s > 10 && break\n  end\n  s\nend", "4"),
    ('function f(x)\n  try\n    error("bad")\n  catch e\n    e.msg\n  finally\n    x\n  end\nend', "1"),
    ("function f(x; scale=2)\n  x * scale\nend", "4"),
    ("f(x...) = length(x)", "(1, 2)"),
    ('f(x::Int) = "int"\nf(x::Float64) = "float"\nf(x) = "other"', "1.0"),
    ("f(x::AbstractVector{T}) where {T} = string(T)", "[1.0]"),
    ("using Statistics\nf(x) = mean(x)", "[1, 2, 3, 4]"),
    ("using LinearAlgebra\nf(x) = dot(x, x) + norm([3.0, 4.0])", "[1, 2]"),
    ("using Dates\nf(x) = string(Date(2020, 1, 31) + Day(x))", "30"),
    ("module M\nexport g\ng(x) = x + 1\nend\nusing .M\nf(x) = g(x)", "1"),
    ("macro twice(e)\n  quote\n    $(esc(e)) * 2\n  end\nend\nf(x) = @twice x + 1", "4"),
    ("f(x) = (let y = x\n  () -> (y += 1; y)\nend)()", "1"),
    ("x = 5\nfor i in 1:3\n  global x += i\nend\nf(y) = x + y", "1"),
    ("if abspath(PROGRAM_FILE) == @__FILE__\n  const M = 1\nelse\n  const M = 2\nend\nf(x) = M", "0"),
    ("f(x) = muladd(0.1, 10.0, -1.0)", "0"),
    ("f(x) = [sin(x), exp(x), x^0.5, log(x), evalpoly(x, (0.1, 0.2, 0.3))]", "1.7"),
    ("f(x) = sprint(print, x)", "[1, 2]"),
    ("f(s) = 'x' in s ? first(s) : last(s)", '"abc"'),
    ('f(x) = Dict("k" => x)', "[1, 2]"),
    ('f(x) = x + "a"', "1"),
    ("f(x) = y", "1"),
    ("f(x) = [1][x + 1]", "1"),
    ("struct E <: Exception end\nf(x) = throw(E())", "1"),
    ('error("at load")\nf(x) = 1', "1"),
    ("f(x) = 1 +* 2", "1"),
    ("exit(3)", "1"),
)


def as_file(source: str, text: str) -> str:
    """`source` with an end that prints f's value."""
    return f'{source}\nprint("value:", repr(f({text})))\n'


def names(verdict, stderr: str) -> bool:
    """Whether the interpreter's standard error tells of the verdict's error; it has no name for what doesn't parse."""
    first = verdict.message.split("\n")[0]
    return verdict.status is Status.SYNTAX_ERROR or verdict.error_kind in stderr or bool(first and first in stderr)
