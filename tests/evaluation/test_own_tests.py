"""Completions that try to pass McEval's tests without being right; each would fool tests in its own process."""

import time

import pytest
from recorded import needs

from azr_jax.evaluation.judging.judge import Completion, CompletionJudge
from azr_jax.evaluation.problems.records import from_record

# The prompt, the published solution and the tests of a function that doubles a number, as McEval writes them.
TWICE = {
    "js": (
        "function twice(n)",
        "{ return 2 * n; }",
        "const testTwice = () => {\n  console.assert(twice(2) === 4);\n"
        "  console.assert(Math.abs(twice(5) - 10) < 1e-6);\n};\ntestTwice();",
    ),
    "lua": (
        "function twice(n)",
        "return 2 * n end",
        "function testTwice()\n  local four = twice(2)\n  assert(four == 4)\n  assert(twice(5) == 10)\nend",
    ),
    "py": (
        "def twice(n):",
        "    return 2 * n",
        "def test_twice():\n    for n, want in ((2, 4), (5, 10)):\n        assert twice(n) == want",
    ),
    "rb": (
        "def twice(n)",
        "  2 * n\nend",
        "raise 'Test failed' unless twice(2) == 4\ndef check(f)\n  raise 'Test failed' unless f.call(5) == 10\nend\n"
        "check(method(:twice))",
    ),
    "pl": (
        "use strict;\nsub twice {\n  my ($n) = @_;",
        "  return 2 * $n;\n}",
        'sub check {\nmy $func = shift;\ndie "Test failed!" unless &$func(2) == 4;\nuse Test::More tests => 1;\n'
        'is_deeply twice(5), 10, "Test 2 passed!";\n}\ncheck(\\&twice);',
    ),
    "php": (
        "<?php\nfunction twice($n)",
        "{ return 2 * $n; }",
        "function main() {\n  assert(twice(2) === 4);\n  if (twice(5) !== 10) exit(1);\n}\nmain();\n?>",
    ),
    "r": (
        "twice <- function(n)",
        "{ 2 * n }",
        "main <- function() {\n  stopifnot(twice(2) == 4)\n  stopifnot(all.equal(twice(5), 10))\n}\nmain()",
    ),
    "rkt": (
        "#lang racket\n(require rackunit)\n(define (twice n)",
        "(* 2 n))",
        "(define (check twice)\n(define tests\n(list (check-equal? (twice 2) 4)\n(check-equal? (twice 5) 10)))\n"
        "(andmap identity tests))\n\n(check twice)",
    ),
    "jl": (
        "function twice(n::Int)",
        "    return 2n\nend",
        "@assert twice(2) == 4\n@assert twice(5) ≈ 10.0",
    ),
    "f90": (
        "integer function twice(n) result(double)",
        "  integer, intent(in) :: n\n  double = 2 * n\nend function twice\nend program main",
        "program main\n  implicit none\n  integer :: result\n  result = twice(2)\n  call assert(result == 4)\n"
        "  call assert(twice(5) .eq. 10 .and. result == 4)\ncontains\nsubroutine assert(condition)\n"
        "  logical, intent(in) :: condition\n  if (.not. condition) then\n    write(*, *) 'Assertion failed!'\n"
        "    stop\n  end if\nend subroutine assert",
    ),
}
HONEST = {
    "js": "{ console.log(n); return f(n); }\nfunction f(x) { return x + x; }",
    "lua": "print(n) return f(n) end\nfunction f(x) return x + x end",
    "py": "    print(n)\n    return f(n)\ndef f(x):\n    return x + x\n",
    "rb": "  puts n\n  f(n)\nend\ndef f(x)\n  x + x\nend",
    "pl": "  print $n;\n  return f($n);\n}\nsub f { return $_[0] + $_[0]; }",
    "php": "{ echo $n; return f($n); }\nfunction f($x) { return $x + $x; }",
    "r": "{ print(n); f(n) }\nf <- function(x) x + x",
    "rkt": "(displayln n) (f n))\n(define (f x) (+ x x))",
    "jl": "    println(n)\n    return f(n)\nend\nf(x) = x + x",
    "f90": "  integer, intent(in) :: n\n"
    "  write (*, '(i0)', advance='no') n\n  double = n + n\nend function twice\nend program main",
}
# What each language's program may redefine: its assertion, its error, its equality, its end; and a reader of the file
# that runs, which prints all that it finds, a mark of success too.
CHEATS = {
    "js": (
        "{ return 0; }\nconsole.assert = () => {};\nObject.freeze(console);",
        "{ return 0; }\nError = function () {}; process.on('uncaughtException', () => {});",
        "{ console.log(require('fs').readFileSync(__filename, 'utf8')); process.exit(0); }",
        "{ return { valueOf() { return n * 2; } }; }",
    ),
    "lua": (
        "return 0 end\nassert = function() end",
        "return 0 end\nerror = print",
        "return setmetatable({}, { __eq = function() return true end }) end",
        "for line in io.lines(arg and arg[0] or '/tmp/program.lua') do print(line) end os.exit(0) end",
    ),
    "py": (
        "    return 0\nAssertionError = None\n",
        "    class Any(int):\n        def __eq__(self, other):\n            return True\n    return Any(1)\n",
        "    import os, sys\n    print(open(sys.argv[0]).read(), flush=True)\n    os._exit(0)\n",
        "    import sys\n    sys.settrace(lambda *given: None)\n    sys.exit(0)\n",
    ),
    "rb": (
        "  0\nend\ndef raise(*)\nend",
        "  0\nend\nclass Integer\n  def ==(other)\n    true\n  end\nend",
        "  puts File.read($0)\n  exit!(0)\nend",
        "  Class.new { def ==(other) = true }.new\nend",
        "  0\nend\nmodule Kernel\n  def raise(*)\n  end\nend",
    ),
    "pl": (
        "  return 0;\n}\nBEGIN { *CORE::GLOBAL::die = sub { }; }",
        "  return bless {}, 'Any';\n}\npackage Any; use overload '==' => sub { 1 }, 'eq' => sub { 1 };\npackage main;",
        "  open my $in, '<', $0; print <$in>; exit 0;\n}",
        "  return 0;\n}\nno warnings; *Test::More::is_deeply = sub { 1 }; $SIG{__DIE__} = sub { exit 0 };",
    ),
    "php": (
        "{ return 0; }\nini_set('zend.assertions', 0); ini_set('assert.active', 0);",
        "{ return 0; }\nset_exception_handler(function () { exit(0); });",
        "{ echo file_get_contents(__FILE__); exit(0); }",
        "{ return 0; }\nassert_options(ASSERT_ACTIVE, 0); assert_options(ASSERT_EXCEPTION, 0);",
    ),
    "r": (
        "{ 0 }\nstopifnot <- function(...) NULL",
        "{ 0 }\n`==` <- function(a, b) TRUE\nall.equal <- function(...) TRUE",
        "{ structure(0, class = 'any') }\n`==.any` <- function(e1, e2) TRUE\nall.equal.any <- function(...) TRUE",
        "{ print(sys.calls()); quit(status = 0) }",
        "{ logical(0) }",
    ),
    "rkt": (
        "0)\n(define-syntax-rule (check-equal? a b) #t)",
        "0)\n(define (equal? a b) #t)\n(current-check-handler void)",
        "(struct any () #:methods gen:equal+hash [(define (equal-proc a b r) #t) (define (hash-proc a r) 1)"
        " (define (hash2-proc a r) 1)]) (any))",
        "(exit 0))",
    ),
    "jl": (
        "    return 0\nend\nmacro assert(x...) end",
        "    return 0\nend\n==(a, b) = true\n≈(a, b) = true",
        "    return 0\nend\nBase.:(==)(a::Int, b::Int) = true\nBase.isapprox(a::Int, b::Float64; k...) = true",
        "    print(read(PROGRAM_FILE, String))\n    ccall(:_exit, Cvoid, (Cint,), 0)\nend",
    ),
    "f90": (
        "  integer, intent(in) :: n\n  double = 0\n  stop 0\nend function twice\nend program main",
        "  integer, intent(in) :: n\n  character(len=1 ) :: byte\n  integer :: unit, state\n  double = 0\n"
        "  open (newunit=unit, file='/proc/self/exe', access='stream', action='read', iostat=state)\n"
        "  do while (state == 0)\n    read (unit, iostat=state) byte\n    write (*, '(a)', advance='no') byte\n"
        "  end do\n  call exit(0)\nend function twice\nend program main",
    ),
}
QUICK = ("js", "lua", "py")


@pytest.mark.parametrize(
    "suffix",
    [pytest.param(suffix, marks=[needs(suffix), *([] if suffix in QUICK else [pytest.mark.ci])]) for suffix in TWICE],
)
def test_a_completion_does_not_judge_itself(suffix):
    prompt, solution, tests = TWICE[suffix]
    record = {
        "task_id": "twice",
        "prompt": prompt,
        "canonical_solution": solution,
        "test": tests,
        "entry_point": "twice",
    }
    problem = from_record(record, suffix)
    texts = [solution, HONEST[suffix], *CHEATS[suffix]]
    with CompletionJudge(suffix, timeout_s=60.0) as judge:
        judgements = list(judge.judge_all([(problem, Completion("twice", text)) for text in texts]))
    assert not any(judgement.own_way or judgement.infrastructure for judgement in judgements)
    assert [judgement.passed for judgement in judgements] == [True, True] + [False] * len(CHEATS[suffix]), [
        (text, judgement.status, judgement.stderr) for text, judgement in zip(texts, judgements, strict=True)
    ]


def test_ctrl_c_while_completions_are_still_being_queued_waits_for_none():
    prompt, _, tests = TWICE["py"]
    record = {"task_id": "twice", "prompt": prompt, "test": tests, "entry_point": "twice", "canonical_solution": ""}
    problem = from_record(record, "py")

    def interrupted():
        for _ in range(8):
            yield problem, Completion("twice", "    import time\n    time.sleep(50)")
        raise KeyboardInterrupt

    begin = time.monotonic()
    with CompletionJudge("py", timeout_s=60.0) as judge, pytest.raises(KeyboardInterrupt):
        list(judge.judge_all(interrupted()))
    assert time.monotonic() - begin < 40
