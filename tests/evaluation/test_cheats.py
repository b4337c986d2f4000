"""Completions that try to pass without being right, and honest ones that look odd, on a problem made for this test."""

import json
from pathlib import Path

import pytest
from recorded import needs

from azr_jax.evaluation.judging import evalplus
from azr_jax.evaluation.judging.judge import MULTIPL_E, Completion, CompletionJudge
from azr_jax.evaluation.problems.records import from_record, read_lines
from executors import Status, Verdict

RACKET = from_record(
    {
        "name": "twice",
        "language": "rkt",
        "prompt": "#lang racket\n\n;; Twice a number.\n(define (twice n)\n",
        "tests": "(require rackunit)\n\n(define (test-humaneval) \n\n  (let (( candidate twice))\n"
        "    (check-within (candidate 2) 4 0.001)\n    (check-within (candidate 5) 10 0.001)\n))\n\n(test-humaneval)",
        "stop_tokens": ["\n(define "],
    }
)
JULIA = from_record(
    {
        "name": "twice",
        "language": "jl",
        "prompt": '"""Twice a number."""\nfunction twice(n::Int64)::Int64 \n',
        "tests": "using Test\n\n@testset begin\n\ncandidate = twice;\n\t@test(candidate(2) == 4)\n"
        "\t@test(candidate(5) == 10)\nend\n",
        "stop_tokens": ["\n\n"],
    }
)
JAVASCRIPT = from_record(
    {
        "name": "twice",
        "language": "js",
        "prompt": "// Twice a number.\nfunction twice(n){\n",
        "tests": "const assert = require('node:assert');\n\n\nfunction test() {\n  let candidate = twice;\n"
        "  assert.deepEqual(candidate(2),4);\n  assert.deepEqual(candidate(5),10);\n}\n\ntest();",
        "stop_tokens": ["\nfunction "],
    }
)
PYTHON = from_record(
    {
        "task_id": "HumanEval/9999",
        "prompt": "def twice(n):\n",
        "entry_point": "twice",
        "canonical_solution": "    return 2.0 * n\n",
        "base_input": [[2]],
        "plus_input": [[5], [0]],
        "atol": 1e-6,
    }
)
HONEST = {
    "rkt": [
        "  (* 2 n))",
        "  (begin (displayln n (current-error-port)) (+ n n)))",
        "  (f n))\n(define (f x) (* 2 x))",
        "  (* 2 n))\n(module+ main (exit 1))",
        "  (* 2.0 n))",
        "  (* 2 n))\n(check-equal? (twice 1) 2)",
    ],
    "jl": [
        "    return 2n\nend",
        "    println(n)\n    return n + n\nend",
        "    f(n)\nend\nf(x::Int64) = 2x",
        "    2n\nend\nexit_code = 1",
    ],
    "js": [
        "  return 2 * n;\n}",
        "  console.log(n); return f(n);\n}\nfunction f(x) { return x + x; }",
        "  return 2 * n;\n}\nmodule.exports = { twice };",
        "  setTimeout(() => {}, 1); return 2 * n;\n}",
        "  return 2 * n;\n}\nprocess.stdout.write('x'.repeat(300000));",
    ],
    "py": [
        "    return n + n\n",
        "    return f(n)\ndef f(x):\n    return 2 * x\n",
        "    return 2 * n + 1e-9\n",
        "    return 2 * n\nif __name__ == '__main__':\n    raise SystemExit(1)\n",
    ],
}
CHEATS = {
    "rkt": {
        "exit before the tests": "  n)\n(exit 0)",
        "exit inside": "  (exit 0))",
        "exit handler": "  ((exit-handler) 0))",
        "own assertion": "  n)\n(define (check-within . _) (void))",
        "own equality": "  n)\n(define (equal? . _) #t)\n(define (<= . _) #t)",
        "error port": "  (current-error-port (open-output-nowhere)) n)",
        "closed stdout": "  (close-output-port (current-output-port)) n)",
        "printed success": '  (displayln "OK") (displayln "#t") n)',
        "thread that exits": "  n)\n(thread (lambda () (sleep 0.01) (exit 0)))",
        "impersonator of everything": "  (struct any () #:property prop:procedure (lambda _ #t)) (any))",
        "struct equal to all": "  (struct any () #:methods gen:equal+hash"
        " [(define (equal-proc a b r) #t) (define (hash-proc a r) 1) (define (hash2-proc a r) 1)]) (any))",
        "tests in a submodule": "  n)\n(module+ main",
        "tests commented out": "  (* 2 n))\n#|",
        "tests in a string": '  (* 2 n))\n"',
        "escape continuation": "  (abort-current-continuation (default-continuation-prompt-tag) void))",
        "killed thread": "  (kill-thread (current-thread)))",
        "reads its file": '  (call-with-input-file "/tmp/program.rkt" (lambda (in) (read-line in))) n)',
        "right only once": "  (if (= n 2) 4 0))",
    },
    "jl": {
        "exit before the tests": "    return n\nend\nexit(0)",
        "exit hook": "    return n\nend\natexit(() -> ccall(:_exit, Cvoid, (Cint,), 0))",
        "own equality": "    return n\nend\n==(x, y) = true",
        "Base's equality": "    return n\nend\nBase.:(==)(x::Int64, y::Int64) = true",
        "own macro": "    return n\nend\nmacro test(x) end",
        "closed stdout": "    close(stdout); return n\nend",
        "main guard": "    return n\nend\nif abspath(PROGRAM_FILE) != @__FILE__\nexit(0)\nend",
        "tests commented out": "    return 2n\nend\n#=",
        "task that exits": "    @async exit(0)\n    return n\nend",
        "right only once": "    return n == 2 ? 4 : 0\nend",
    },
    "js": {
        "exit before the tests": "  return n;\n}\nprocess.exit(0);",
        "exit inside": "  process.exit(0);\n}",
        "exit hook": "  return n;\n}\nprocess.on('exit', () => { process.reallyExit(0); });",
        "own assertion": "  require('node:assert').deepEqual = () => {}; return n;\n}",
        "equal to all": "  return { valueOf() { return 4; }, toString() { return '4'; } };\n}",
        "proxy": "  return new Proxy({}, { get: () => 4 });\n}",
        "function as a number": "  const g = () => 0; g.valueOf = () => 2 * n; return g;\n}",
        "closed stdout": "  require('fs').closeSync(1); return n;\n}",
        "main guard": "  return n;\n}\nif (require.main === module) process.exit(0);",
        "patched serialiser": "  require('v8').serialize = () => Buffer.from('ff0f4908', 'hex'); return n;\n}",
        "tests commented out": "  return 2 * n;\n}\n/*",
        "early return": "  return 2 * n;\n}\nreturn;",
        "promise": "  return Promise.resolve(2 * n);\n}",
        "right only once": "  return n === 2 ? 4 : 0;\n}",
    },
    "py": {
        "exit before the tests": "    return n\nimport sys\nsys.exit(0)\n",
        "exit inside": "    import os\n    os._exit(0)\n",
        "equal to all": "    class Any:\n        def __eq__(self, other):\n            return True\n    return Any()\n",
        "number equal to all": "    class Any(float):\n        def __eq__(self, other):\n            return True\n"
        "    return Any(1)\n",
        "closed stdout": "    import os\n    os.close(1)\n    return n\n",
        "thread that exits": "    import os, threading\n"
        "    threading.Thread(target=lambda: os._exit(0)).start()\n    return n\n",
        "frame of the harness": "    import sys\n"
        "    frame = sys._getframe(1)\n    return frame.f_globals.get('EXPECTED', n)\n",
        "right on base only": "    return {2: 4.0}.get(n)\n",
    },
}
PROBLEMS = {"rkt": RACKET, "jl": JULIA, "js": JAVASCRIPT, "py": PYTHON}


# Julia's compiler needs its time.
@pytest.fixture(
    params=[
        pytest.param(suffix, marks=[needs(suffix), pytest.mark.ci] if suffix == "jl" else needs(suffix))
        for suffix in PROBLEMS
    ]
)
def judge(request, sound_judge):
    return sound_judge(request.param)


def test_honest_completions_pass(judge):
    problem = PROBLEMS[judge.suffix]
    items = [(problem, Completion(problem.name, text)) for text in HONEST[judge.suffix]]
    judgements = judge.judge_all(items)
    assert [(item[1].text, j.status, j.stderr) for item, j in zip(items, judgements, strict=True) if not j.passed] == []


def test_cheats_fail(judge):
    problem = PROBLEMS[judge.suffix]
    cheats = CHEATS[judge.suffix]
    judgements = judge.judge_all([(problem, Completion(problem.name, text)) for text in cheats.values()])
    assert [name for name, j in zip(cheats, judgements, strict=True) if j.passed] == []


def test_odd_texts_get_a_verdict(judge):
    problem = PROBLEMS[judge.suffix]
    texts = ["", "\0\x01\ufffd", "\udcff\ud800", "(" * 5000, "x" * (10 << 20)]
    judgements = list(judge.judge_all([(problem, Completion(problem.name, text)) for text in texts]))
    assert [(j.passed, j.infrastructure) for j in judgements] == [(False, False)] * len(texts)


@pytest.mark.slow
def test_many_more_honest_completions_and_cheats(judge):
    rows = [row for _, row in read_lines(Path(__file__).with_name("completions") / f"{judge.suffix}.jsonl")]
    problem = PROBLEMS[judge.suffix]
    items = [(problem, Completion(problem.name, row["completion"], row["mode"] == "full")) for row in rows]
    # Some of them wait for their limit.
    with CompletionJudge(judge.suffix, timeout_s=20.0) as hasty:
        judgements = list(hasty.judge_all(items))
    wrong = [
        (row["kind"], j.status, j.stderr) for row, j in zip(rows, judgements, strict=True) if j.passed != row["passes"]
    ]
    assert wrong == [] and not any(j.infrastructure for j in judgements)


@needs("js")
def test_multipl_e_is_fooled_where_the_sound_judge_is_not():
    with CompletionJudge("js", MULTIPL_E) as judge:
        judgements = judge.judge_all([(JAVASCRIPT, Completion("twice", CHEATS["js"]["exit inside"]))])
        assert [judgement.status for judgement in judgements] == ["OK"]


def test_multipl_e_has_no_python():
    with pytest.raises(ValueError, match="no problems in python"):
        CompletionJudge("py", MULTIPL_E)


@pytest.mark.ci
@needs("py")
def test_a_call_limit_of_evalplus_is_measured_from_outside(sound_judge):
    """The completion stops the clock and the timer of its own process and takes 4 s, where a call has 1 s."""
    slow = """    if n == 2:
        import time, _signal
        time.perf_counter = lambda: 0.0
        _signal.setitimer(0, 0)
        time.sleep(4)
    return 2 * n
"""
    judgement = sound_judge("py").judge(PYTHON, Completion(PYTHON.name, slow))
    assert (judgement.status, judgement.base, judgement.plus) == ("Timeout", "timeout", "timeout")


def test_the_outputs_of_calls_that_kept_their_limits_are_put_together():
    """A process that took longer than its shortest limit: its calls are made again, in processes that each kept it."""
    calls = []

    def run(kind, source, inputs):
        begin, end = source
        calls.append((begin, end))
        outputs = "[" + ", ".join(str(number) for number in range(begin, end)) + "]"
        return Verdict("", Status.OK, (outputs,), seconds=0.4 * (end - begin))

    ran = evalplus._outputs(run, lambda begin, end: (begin, end), [1.0] * 20, 0, 20)
    assert json.loads(ran.values[0]) == list(range(20)) and ran.seconds == pytest.approx(16.0)
    assert calls == [(0, 20), *((begin, min(begin + 3, 20)) for begin in range(0, 20, 3))]
