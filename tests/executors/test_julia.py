"""Julia values, errors by kind, file semantics, hostile programs, tiers and cold agreement, through a real pool."""

import dataclasses
import functools
import re

import pytest
from conformance.julia import PROGRAMS
from conftest import ci_in

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status
from executors.languages.julia import harness_argv

JULIA = LANGUAGES["julia"]
LIMITS = Limits(wall_s=4.0, cpu_s=2.0, memory_mib=256, value_chars=4096)

needs_julia = pytest.mark.skipif(JULIA.find() is None, reason=f"julia is not installed: {JULIA.install_hint}")

# text: canonical text, or None for what is no value
VALUES = {
    "1": "1",
    "-9223372036854775808": "-9223372036854775808",
    "1.0": "1.0",
    "true": "true",
    "Int8(1)": "Int8(1)",
    "0x05": "0x05",
    "1f0": "1.0f0",
    "Float16(1.5)": "Float16(1.5)",
    "-0.0": "-0.0",
    "NaN": "NaN",
    "-NaN": "NaN",
    "-Inf32": "-Inf32",
    "1e22": "1.0e22",
    "1.5 - 2.0im": "1.5 - 2.0im",
    "-(1//2)": "-1//2",
    "Complex(1//2, -3//4)": "Complex(1//2, -3//4)",
    "big(5)": "big(5)",
    "1180591620717411303424": "1180591620717411303424",
    "1//2": "1//2",
    "-2im": "0 - 2im",
    "Complex(NaN, -0.0)": "Complex(NaN, -0.0)",
    r'"a\0b\xff\u00e9\U1f600\u202e\n\$"': r'"a\0b\xffé😀\u202e\n\$"',
    "'\\n'": "'\\n'",
    ":a": ":a",
    'Symbol("a b")': 'Symbol("a b")',
    "nothing": "nothing",
    "missing": "missing",
    "()": "()",
    "(1,)": "(1,)",
    '(b=1, a="x")': '(b = 1, a = "x")',
    "1=>2": "1 => 2",
    "[]": "Any[]",
    "[1,2.5]": "[1.0, 2.5]",
    "Any[1, 2]": "Any[1, 2]",
    "[true, false]": "Bool[1, 0]",
    "Float32[1, NaN]": "Float32[1.0, NaN]",
    "Union{Missing, Int}[1]": "Union{Int64, Missing}[1]",
    '[[1], ["a"]]': 'Vector[[1], ["a"]]',
    "[1 2; 3 -4]": "[1 2; 3 -4]",
    "reshape([1,2], 2, 1)": "reshape([1, 2], 2, 1)",
    "zeros(Int, 0, 3)": "reshape(Int64[], 0, 3)",
    "1:2:7": "1:2:7",
    "0.0:0.1:1.0": "0.0:0.1:1.0",
    'Dict("b"=>1, "a"=>2)': 'Dict("a" => 2, "b" => 1)',
    'Dict{String,Any}("a"=>1)': 'Dict{String, Any}("a" => 1)',
    "Dict()": "Dict{Any, Any}()",
    "Set([3,1,2])": "Set([1, 2, 3])",
    "Set(Any[1])": "Set(Any[1])",
    "Vector{Int}": "Vector{Int64}",
    "1) or True #": None,
    "1 2": None,
    "": None,
    "# nothing": None,
    "f(1)": None,
    "x -> x": None,
    "[x for x in 1:3]": None,
    '"$(1)"': None,
    "run(`ls`)": None,
    "@eval 1": None,
    "Main": None,
    "Core.eval(Main, :(1))": None,
    "zeros(10^9)": None,
    "17*23": None,
    "2^10": None,
    "1 + 1": None,
    '"a" * "b"': None,
    'repeat("a", 2)': None,
    "[" * 200 + "]" * 200: None,
}

# Source: status, error kind (a regular expression).
ERRORS = {
    "f(x) = ((": (Status.SYNTAX_ERROR, "ParseError"),
    "f(x) = 1 +* 2": (Status.SYNTAX_ERROR, "ParseError"),
    "f(x) = 1\nend": (Status.SYNTAX_ERROR, "ParseError"),
    "f(x) = y": (Status.RUNTIME_ERROR, "UndefVarError"),
    "y\nf(x) = 1": (Status.RUNTIME_ERROR, "UndefVarError"),
    "g(x) = 1": (Status.RUNTIME_ERROR, "UndefVarError"),
    'f(x) = x + "a"': (Status.RUNTIME_ERROR, "MethodError"),
    "f(x) = [1][x]": (Status.OK, ""),
    "f(x) = [1][x + 1]": (Status.RUNTIME_ERROR, "BoundsError"),
    "f(x) = Dict(2 => 3)[x]": (Status.RUNTIME_ERROR, "KeyError"),
    "f(x) = sqrt(-x)": (Status.RUNTIME_ERROR, "DomainError"),
    "f(x) = div(x, 0)": (Status.RUNTIME_ERROR, "DivideError"),
    "f(x) = Int8(300x)": (Status.RUNTIME_ERROR, "InexactError"),
    'f(x) = error("no")': (Status.RUNTIME_ERROR, "ErrorException"),
    "struct E <: Exception end\nf(x) = throw(E())": (Status.RUNTIME_ERROR, "E"),
    "f(x) = f(x) + 1": (Status.RUNTIME_ERROR, "StackOverflowError"),
    "f(x) = exit(3)": (Status.EXIT, ""),
    "exit()": (Status.EXIT, ""),
    "f(x) = zeros(10^9)": (Status.MEMORY, "OutOfMemoryError"),
    "f(x) = while true; end": (Status.TIMEOUT, ""),
    "f(x) = sleep(100)": (Status.TIMEOUT, ""),
    'f(x) = "a"^5000': (Status.OUTPUT_LIMIT, ".*"),
    "f(x) = collect(1:10^6)": (Status.OUTPUT_LIMIT, ".*"),
    "f(x) = sin": (Status.UNSERIALISABLE, ".*"),
    "struct S end\nf(x) = [S()]": (Status.UNSERIALISABLE, ".*"),
    "f(x) = Vector{String}(undef, 2)": (Status.UNSERIALISABLE, ".*"),
    "f(x) = stdout": (Status.UNSERIALISABLE, ".*"),
    "f(x) = @async 1": (Status.UNSERIALISABLE, ".*"),
}

ANY_END = frozenset(Status) - {Status.INFRASTRUCTURE}
WRITE_ALL = "for d in 0:255\n  ccall(:write, Cssize_t, (Cint, Ptr{UInt8}, Csize_t), d, b, length(b))\nend"
FORGED = "b = UInt8[0,0,0,6, 0,0,0,2, 0x6f,0x6b, 0,0,0,0, 0,0,0,0, 0,0,0,1, 0x30, 0,0,0,1, 0x30, 0,0,0,2, 0x34,0x32]\n"
BAD_STATUS = (
    'b = UInt8[0,0,0,5, 0,0,0,14, codeunits("infrastructure")..., 0,0,0,0, 0,0,0,0, 0,0,0,1,0x30, 0,0,0,1,0x30]\n'
)
NEVER_OK = ANY_END - {Status.OK}

# name: (source, acceptable ends, the only value that may be claimed or None)
ATTACKS = {
    "forged_two_frames": (f"{FORGED}append!(b, b)\n{WRITE_ALL}\nf(x) = 7", NEVER_OK, None),
    "forged_status": (f"{BAD_STATUS}{WRITE_ALL}\nf(x) = 7", NEVER_OK, None),
    "forged_halves": (f"{FORGED}b = b[1:9]\n{WRITE_ALL}\nf(x) = while true; end", NEVER_OK, None),
    "flood_of_reply": (f"b = zeros(UInt8, 1 << 20)\n{WRITE_ALL}\nf(x) = 7", NEVER_OK, None),
    "patched_writer": (
        'Core.eval(Main.AzrHarness.AzrValues, :(canonical(x, n::Int) = "42"))\nf(x) = 7',
        {Status.OK},
        "7",
    ),
    "patched_emitter": (
        "Core.eval(Main.AzrHarness.AzrValues, :(put(e::Emitter, s::String) = nothing))\nf(x) = 7",
        {Status.OK},
        "7",
    ),
    "patched_reply": (
        'Core.eval(Main.AzrHarness, :(reply(a...) = String["ok","","","0","0","42"]))\nf(x) = 7',
        {Status.OK},
        "7",
    ),
    "patched_base": (
        "for g in (:length, :isempty, :join, :string, :sort!, :write, :take!)\n"
        '  @eval Base.$g(a...) = error("patched")\nend\nf(x) = (7, "a")',
        {Status.OK, Status.RUNTIME_ERROR, Status.CRASH},
        '(7, "a")',
    ),
    "array_of_lies": (
        "struct L <: AbstractVector{Int} end\nBase.size(::L) = (1,)\nBase.getindex(::L, i::Int) = 42\nf(x) = L()",
        {Status.UNSERIALISABLE},
        None,
    ),
    "number_of_lies": (
        "struct N <: Integer end\nBase.convert(::Type{Int}, ::N) = 42\n"
        "Base.show(io::IO, ::N) = print(io, 42)\nf(x) = N()",
        {Status.UNSERIALISABLE},
        None,
    ),
    "string_of_lies": (
        'struct T <: AbstractString end\nBase.String(::T) = "42"\nf(x) = T()',
        {Status.UNSERIALISABLE},
        None,
    ),
    "type_named_like_builtin": (
        "module M\nstruct Dict end\nend\nf(x) = Any[M.Dict, M.Dict()]",
        {Status.UNSERIALISABLE},
        None,
    ),
    "hash_of_lies": (
        "Base.hash(x::Int, h::UInt) = UInt(rand(1:9))\nf(x) = Dict(1 => 2, 3 => 4)",
        {Status.OK},
        "Dict(1 => 2, 3 => 4)",
    ),
    "fork_bomb": ("f(x) = (while true; ccall(:fork, Cint, ()) == 0 && (while true; end); end)", {Status.TIMEOUT}, None),
    "fork": ("f(x) = ccall(:fork, Cint, ())", {Status.OK}, "Int32(-1)"),
    "run_shell": ("f(x) = read(`/bin/sh -c 'echo 42'`, String)", {Status.RUNTIME_ERROR}, None),
    "exec": (
        'f(x) = ccall(:execl, Cint, (Cstring, Cstring, Ptr{Cvoid}), "/bin/sh", "sh", C_NULL)',
        {Status.OK},
        "Int32(-1)",
    ),
    "write_outside": ('f(x) = write("/var/tmp/azr_canary/jl", "x")', {Status.RUNTIME_ERROR}, None),
    "write_tmp": ("f(x) = mktemp()", {Status.RUNTIME_ERROR}, None),
    "listen": ("using Sockets\nf(x) = listen(18998)", {Status.RUNTIME_ERROR}, None),
    "resolve": ('using Sockets\nf(x) = getaddrinfo("localhost")', {Status.RUNTIME_ERROR, Status.TIMEOUT}, None),
    "install_package": ('using Pkg\nf(x) = Pkg.add("JSON")', {Status.RUNTIME_ERROR, Status.TIMEOUT}, None),
    "abort": ("f(x) = ccall(:abort, Cvoid, ())", {Status.CRASH, Status.EXIT}, None),
    "quick_exit": ("f(x) = ccall(:_exit, Cvoid, (Cint,), 0)", {Status.EXIT}, None),
    "stop_itself": ("f(x) = (ccall(:raise, Cint, (Cint,), 19); 7)", {Status.OK, Status.TIMEOUT}, "7"),
    "kill_group": ("f(x) = (ccall(:kill, Cint, (Cint, Cint), -1, 9); 7)", {Status.OK}, "7"),
    "finaliser_hang": (
        "mutable struct F end\nfunction f(x)\n  finalizer(y -> (while true; end), F())\n  GC.gc()\n  7\nend",
        {Status.OK, Status.TIMEOUT},
        "7",
    ),
    "timer_hang": ("f(x) = (Timer(t -> (while true; end), 0); 7)", {Status.OK}, "7"),
    "close_reply": (
        "f(x) = (for d in 0:255; ccall(:close, Cint, (Cint,), d); end; 7)",
        {Status.EXIT, Status.CRASH},
        None,
    ),
    "reopen_compiler": (
        "f(x) = (Core.eval(Main, :(h(x) = x^3 + 1)); Base.invokelatest(h, 2))",
        {Status.OK},
        "9",
    ),
    "jit_tier_off": (
        "unsafe_store!(Ptr{Int8}(cglobal(:jl_options)) + 76, Int8(0))\nf(x) = [y + 1 for y in 1:3]",
        ANY_END,
        "[2, 3, 4]",
    ),
    "deep_nesting": (
        "function f(x)\n  a = Any[]\n  for i in 1:100000\n    a = Any[a]\n  end\n  a\nend",
        {Status.UNSERIALISABLE},
        None,
    ),
    "wide_sharing": (
        "function f(x)\n  a = Any[1]\n  for i in 1:60\n    a = Any[a, a]\n  end\n  a\nend",
        {Status.OUTPUT_LIMIT},
        None,
    ),
    "huge_dict": ("f(x) = Dict(i => i for i in 1:10^6)", {Status.OUTPUT_LIMIT, Status.MEMORY, Status.TIMEOUT}, None),
    "compile_bomb": (
        "g(::Val{N}) where {N} = g(Val(N + 1))\nf(x) = g(Val(0))",
        {Status.TIMEOUT, Status.MEMORY, Status.RUNTIME_ERROR, Status.CRASH},
        None,
    ),
    "macro_hang": ("macro m()\n  while true\n  end\nend\nf(x) = @m", {Status.TIMEOUT}, None),
    "parse_bomb": (
        "f(x) = " + "(" * 20000,
        {Status.SYNTAX_ERROR, Status.CRASH, Status.RUNTIME_ERROR, Status.MEMORY},
        None,
    ),
}


@pytest.fixture(scope="module")
def pool():
    with Pool(JULIA, workers=1, limits=LIMITS) as opened:
        yield opened


def run(pool, source, *inputs, **options):
    return pool.submit(Job("job", JobKind.EVALUATE, source, inputs, **options)).result()


@needs_julia
@pytest.mark.parametrize("text", VALUES)
def test_values(pool, text):
    verdict = pool.submit(Job("job", JobKind.VALUE, inputs=(text,))).result()
    if VALUES[text] is None:
        assert verdict.status in (Status.FORBIDDEN, Status.SYNTAX_ERROR), verdict
    else:
        assert verdict.values == (VALUES[text],), verdict
        again = pool.submit(Job("job", JobKind.VALUE, inputs=verdict.values)).result()
        assert again.values == verdict.values


@needs_julia
def test_inputs_may_be_expressions(pool):
    texts = ("0.1+0.2", "2^-1", "1//2 + 17*23", '"a" * repeat("b", 2)')
    verdict = run(pool, "f(x) = x", *texts)
    assert verdict.values == ("0.30000000000000004", "0.5", "783//2", '"abb"')
    assert run(pool, "f(x) = x", 'repeat("a", 10^9)').status in (Status.MEMORY, Status.OUTPUT_LIMIT)
    assert pool.submit(Job("job", JobKind.VALUE, inputs=("2 * 3",))).result().status is Status.FORBIDDEN


@needs_julia
def test_values_that_julia_holds_equal_stay_apart(pool):
    texts = ("1", "1.0", "true", "Int8(1)", "big(1)", "1//1", "0x01", "1f0", "1 + 0im")
    verdict = pool.submit(Job("job", JobKind.VALUE, inputs=texts)).result()
    assert len(set(verdict.values)) == len(texts)
    for text in texts[1:]:
        assert run(pool, "f(x) = x", "1", expect=(text,)).correct is False
    assert run(pool, "f(x) = x", "1", expect=(" 1 ",)).correct is True


@needs_julia
def test_plain_values_are_canonical(pool):
    texts = ("0", "-5", "123456789012345678", "true", "nothing", "[1, -2, 3]", '"ab #c\'d"')
    pattern = re.compile(JULIA.plain_value)
    assert all(pattern.fullmatch(text) for text in texts)
    for text in ("-0", "01", "1.0", '"a$b"', '"a\\n"', "[]", "[1,2]", '"é"'):
        assert not pattern.fullmatch(text)
    # From the program, so that the pool does not take them as known.
    verdict = run(pool, f"f(x) = ({', '.join(texts)})", "0")
    assert verdict.values == (f"({', '.join(texts)})",)


@needs_julia
@pytest.mark.parametrize("source", ERRORS)
@pytest.mark.ci
def test_errors_by_kind(pool, source):
    status, kind = ERRORS[source]
    verdict = run(pool, source, "1")
    assert verdict.status is status, verdict
    assert re.fullmatch(kind, verdict.error_kind), verdict


@needs_julia
@pytest.mark.parametrize("name", ci_in(ATTACKS, *list(ATTACKS)[2:]))
def test_hostile_programs(pool, name):
    source, ends, value = ATTACKS[name]
    verdict = run(pool, source, "0")
    assert verdict.status in ends, verdict
    if verdict.status is Status.OK:
        assert verdict.values == (value,), verdict
    assert run(pool, "f(x) = length(x) + 1", '"ab"').values == ("3",)


@needs_julia
def test_earlier_requests_are_not_in_memory(pool):
    secret = "expected-" + "7f3a" * 6
    assert pool.submit(Job("job", JobKind.VALUE, inputs=(f'["{secret}"]',))).result().status is Status.OK
    # Counts the marker in all readable private memory; the reversed text in the source is no match.
    source = f"""
    function f(x)
        marker, found = Vector{{UInt8}}(reverse("{secret[::-1]}")), 0
        own = (UInt(pointer(marker)), UInt(pointer(marker)) + 64)
        for line in split(read("/proc/self/maps", String), "\\n")
            parts = split(line)
            length(parts) >= 5 && startswith(parts[2], "rw") || continue
            a, b = (parse(UInt, t; base=16) for t in split(parts[1], "-"))
            while a < b
                p = ccall(:memmem, UInt, (UInt, Csize_t, Ptr{{UInt8}}, Csize_t), a, b - a, marker, length(marker))
                p == 0 && break
                found += own[1] <= p < own[2] ? 0 : 1
                a = p + 1
            end
        end
        return found
    end
    """
    mine = run(pool, source, "0")
    # The marker itself was made from a temporary string: one more copy at most.
    assert mine.status is Status.OK and int(mine.values[0]) <= 1, mine


@needs_julia
@pytest.mark.slow
def test_determinism_is_judged_in_two_processes(pool):
    assert run(pool, "f(x) = rand(1:10^9)", "0", determinism=True).status is Status.NONDETERMINISTIC
    assert run(pool, "f(x) = time_ns()", "0", determinism=True).status is Status.NONDETERMINISTIC
    assert run(pool, "mutable struct M end\nf(x) = hash(M())", "0", determinism=True).status is Status.NONDETERMINISTIC
    assert run(pool, 'f(x) = Set(["b", "a"])', "0", determinism=True).values == ('Set(["a", "b"])',)


@needs_julia
def test_slow_programs_are_compiled(pool):
    # About 3e8 operations: minutes when interpreted.
    source = "function f(n)\n  s = 0\n  for i in 1:n\n    s = (s * 31 + i) % 1000003\n  end\n  s\nend"
    assert run(pool, source, "50000000").status is Status.OK


@needs_julia
@pytest.mark.slow
@pytest.mark.parametrize("tier", ["interpreted", "compiled"])
def test_tiers_agree(pool, tier):
    language = dataclasses.replace(JULIA, harness_argv=functools.partial(harness_argv, tier=tier))
    jobs = [Job(str(i), JobKind.EVALUATE, source, (text,)) for i, (source, text) in enumerate(PROGRAMS)]
    jobs += [Job(source, JobKind.EVALUATE, source, ("1",)) for source in ERRORS]
    with Pool(language, workers=1, limits=LIMITS) as other:
        for job, theirs in zip(jobs, other.run_all(jobs), strict=True):
            ours = pool.submit(job).result()
            assert (ours.status, ours.values, ours.error_kind) == (theirs.status, theirs.values, theirs.error_kind), job


@needs_julia
@pytest.mark.slow
def test_whole_programs():
    sources = ('println("héllo", 1)\n', "f(x) = ((\n", "@assert 1 == 2\n", "exit(3)\n")
    # To print an error Julia compiles for a second or more.
    with Pool(JULIA, workers=1, cold=True, limits=Limits(wall_s=30.0, cpu_s=20.0)) as pool:
        good, syntax, failed, left = pool.run_all(Job(source, JobKind.PROGRAM, source) for source in sources)
    assert good.status is Status.OK and good.stdout == "héllo1\n", good
    assert syntax.status is Status.SYNTAX_ERROR, syntax
    assert failed.status is Status.RUNTIME_ERROR and "AssertionError" in failed.stderr, failed
    assert left.exit_code == 3, left


def test_canonical_program_folds_what_means_nothing():
    first = "# a\nf(x) = x  +  1 #= b #= c =# =#\n\n\n   g(x) = 2\n"
    assert JULIA.canonical_program(first) == "f(x) = x + 1\ng(x) = 2"
    assert JULIA.canonical_program("f(x) = x + 1\r\ng(x) = 2") == JULIA.canonical_program(first)


@pytest.mark.parametrize(
    "source",
    [
        'f(x) = "a # b  c"',
        'f(x) = "$(g("# q  r"))  #"',
        "f(x) = '#'",
        "f(x) = x' * y'  #",
        'f(x) = """\n  # a\n\n  b"""',
        'f(x) = raw"$(  # "',
        "f(x) = `ls  #`",
        "f(x) = ['\\'', '\"', '#']",
    ],
)
def test_canonical_program_keeps_literals(source):
    assert JULIA.canonical_program(source) == source.removesuffix("  #")


def test_canonical_program_keeps_what_means_something():
    pairs = (("[1 -2]", "[1 - 2]"), ("a\nb", "a b"), ('"a  b"', '"a b"'), ("x'", "x"), ("1", "2"))
    for value, other in pairs:
        assert JULIA.canonical_program(value) != JULIA.canonical_program(other)
