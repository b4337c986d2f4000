"""`--prompt=instruct`: each form of an answer is judged for the program that it holds."""

import pytest
from recorded import needs
from test_cheats import JAVASCRIPT, JULIA, PYTHON, RACKET

from azr_jax.evaluation.judging.judge import CompletionJudge
from azr_jax.evaluation.languages.known import known_language
from azr_jax.evaluation.problems.records import Problem, from_record
from azr_jax.evaluation.scoring import answers
from azr_jax.types import Invalid
from executors import LANGUAGES

_LUA_TESTS = (
    "\nlu = require('luaunit')\n\nfunction test_humaneval()\nlocal candidate = twice\n"
    "    lu.assertEquals(candidate(2), 4)\n    lu.assertEquals(candidate(5), 10)\nend\n\nos.exit(lu.LuaUnit.run())"
)
_R_TESTS = (
    "\ntest_humaneval <- function() {\n    candidate <- twice\n"
    "    stopifnot(isTRUE(all.equal(candidate(2), 4)))\n    stopifnot(isTRUE(all.equal(candidate(5), 10)))\n}\n"
    "test_humaneval()"
)
_OCAML_TESTS = (
    "\nlet assertions =\n let candidate = twice in\n  (assert ((candidate 2) = 4));\n"
    "  (assert ((candidate 5) = 10));\n  ()\n"
)
PROBLEMS = {
    "racket": RACKET,
    "julia": JULIA,
    "javascript": JAVASCRIPT,
    "python": PYTHON,
    "lua": Problem("twice", "lua", "-- Twice a number.\nlocal function twice(n)\n", _LUA_TESTS, (), {}),
    "r": Problem("twice", "r", "# Twice a number.\ntwice <- function(n) {\n", _R_TESTS, (), {}),
    "ocaml": Problem("twice", "ml", "(* Twice a number. *)\nlet twice (n : int) : int =\n", _OCAML_TESTS, (), {}),
}
WHOLE = {
    "racket": "#lang racket\n;; Twice a number.\n(define (twice n)\n  (* 2 n))",
    "julia": '"""Twice a number."""\nfunction twice(n::Int64)::Int64\n    return 2 * n\nend',
    "javascript": "// Twice a number.\nfunction twice(n) {\n  return 2 * n;\n}",
    "python": "import math\n\n\ndef twice(n):\n    return 2 * n",
    "lua": "-- Twice a number.\nlocal function twice(n)\n  return 2 * n\nend",
    "r": "# Twice a number.\ntwice <- function(n) {\n  2 * n\n}",
    "ocaml": "(* Twice a number. *)\nlet twice (n : int) : int =\n  2 * n",
}
DEFINITION = {
    "racket": "(define (twice n)\n  (* 2 n))",
    "julia": "twice(n) = 2 * n",
    "javascript": "const twice = (n) => 2 * n;",
    "python": "def twice(n):\n    return 2 * n",
    "lua": "function twice(n)\n  return 2 * n\nend",
    "r": "twice = function(n) 2 * n",
    "ocaml": "let rec twice n = 2 * n",
}
BODY = {
    "racket": "  (* 2 n))",
    "julia": "    return 2 * n\nend",
    "javascript": "  return 2 * n;\n}",
    "python": "    return 2 * n",
    "lua": "  return 2 * n\nend",
    "r": "  2 * n\n}",
    "ocaml": "  2 * n",
}


def _forms(name: str) -> dict[str, str]:
    """The 16 forms, each with an answer that is right."""
    tag, whole, definition, body = LANGUAGES[name].fence, WHOLE[name], DEFINITION[name], BODY[name]
    alias = next(iter(LANGUAGES[name].fence_aliases), tag)
    wrong = definition.replace("2", "7")
    block = f"```{tag}\n{whole}\n```"
    indented = block.replace("\n", "\n   ")
    return {
        "a whole program": block,
        "signature and body": f"Here you are:\n```{tag}\n{definition}\n```",
        "body alone": f"```{tag}\n{body}\n```",
        "body that is not indented": f"```{tag}\n{body.lstrip()}\n```",
        "untagged fence": f"```\n{whole}\n```",
        "another spelling of the tag": f"```{alias.upper()}\n{whole}\n```",
        "several fences, the last counts": f"```{tag}\n{wrong}\n```\nBetter:\n{block}",
        "output in a fence behind it": f"{block}\nIt prints:\n```text\n4\n```",
        "untagged output behind it": f"{block}\nOutput:\n```\n4\n```",
        "indented fence": f"1. The program:\n\n   {indented}\n",
        "CRLF": block.replace("\n", "\r\n"),
        "tildes": f"~~~{tag}\n{whole}\n~~~",
        "text after it": f"{block}\n\nThis doubles `n`, as asked. ``` is a fence.",
        "no fence": whole,
        "a fence that is not closed": f"```{tag}\n{whole}\n",
        "a longer fence": f"````{tag}\n{whole}\n````",
    }


# What the others leave of the default run's time; CI has them too.
_IN_LANGUAGES = [
    pytest.param(name, marks=[needs(name), *([pytest.mark.ci] if name in ("julia", "lua", "r", "ocaml") else [])])
    for name in PROBLEMS
]


def _judged(judge: CompletionJudge, name: str, text: str) -> str:
    completion = answers.completion_of(PROBLEMS[name], judge.benchmark_language, answers.INSTRUCT, text)
    assert not isinstance(completion, Invalid), completion
    return judge.judge(PROBLEMS[name], completion).status


@pytest.mark.parametrize("name", _IN_LANGUAGES)
def test_every_form_of_an_answer_is_judged_for_what_it_is(name):
    forms = _forms(name)
    assert len(forms) == 16
    with CompletionJudge(LANGUAGES[name].benchmark_suffix or name, timeout_s=20.0) as judge:
        right = {form: _judged(judge, name, text) for form, text in forms.items()}
        wrong = {form: _judged(judge, name, text.replace("2", "3")) for form, text in forms.items()}
    assert set(right.values()) == {"OK"}, right
    assert "OK" not in wrong.values(), wrong


def test_what_the_prompt_has_before_the_function_comes_before_a_definition_alone():
    record = {**PYTHON.record, "prompt": "from typing import List\n\n\ndef twice(n: List[int]):\n"}
    record |= {"canonical_solution": "    return n\n", "base_input": [[[2]]], "plus_input": [[[5]]]}
    text = "```python\ndef twice(n: List[int]):\n    return n\n```"
    completion = answers.completion_of(from_record(record), known_language("python"), answers.INSTRUCT, text)
    assert not isinstance(completion, Invalid) and completion.whole
    assert completion.text == "from typing import List\n\n\ndef twice(n: List[int]):\n    return n"


def test_the_message_holds_the_problem_in_a_fence_and_nothing_stops_its_answer_early():
    message = answers.prompt_of(RACKET, LANGUAGES["racket"], answers.INSTRUCT)
    assert message.startswith("Complete this Racket program.") and f"```racket\n{RACKET.prompt.strip()}\n```" in message
    assert "Assistant:" not in message and "<think>" not in message
    assert answers.stop_of(RACKET, known_language("rkt"), answers.INSTRUCT) == ()


@pytest.mark.parametrize(
    ("name", "text", "program"),
    [
        (
            "python",
            "```\ndef twice(n):\n    return 2 * n\n```\nUsage:\n```python\ntwice(2)\n```",
            "def twice(n):\n    return 2 * n",
        ),
        ("python", "```python\ntwice = lambda n: 2 * n\n```", "twice = lambda n: 2 * n"),
        ("julia", "```julia\ntwice = n -> 2n\n```", "twice = n -> 2n"),
        (
            "lua",
            "```lua\nlocal twice = function(n) return 2 * n end\n```",
            "local twice = function(n) return 2 * n end",
        ),
        ("javascript", "```js\nvar twice = n => 2 * n;\n```", "var twice = n => 2 * n;"),
        ("r", "```r\ntwice <- \\(n) 2 * n\n```", "twice <- \\(n) 2 * n"),
        ("julia", "```julia\ntwice(n::T) where {T<:Real} = 2n\n```", "twice(n::T) where {T<:Real} = 2n"),
        (
            "racket",
            "```racket\n(define/contract (twice n)\n  (-> any/c any/c)\n  (* 2 n))\n```",
            "(define/contract (twice n)\n  (-> any/c any/c)\n  (* 2 n))",
        ),
        ("racket", "```lisp\n(define (twice n) (* 2 n))\n```\nIt gives\n```\n4\n```", "(define (twice n) (* 2 n))"),
    ],
)
def test_a_definition_counts_before_the_tag_and_in_every_way_of_writing_it(name, text, program):
    completion = answers.completion_of(PROBLEMS[name], known_language(name), "instruct", text)
    assert not isinstance(completion, Invalid) and completion.whole and completion.text.endswith(program)


def test_thoughts_that_do_not_end_are_no_answer():
    text = "<think>\nPerhaps\n```python\ndef twice(n):\n    return 9\n```\n"
    assert answers.completion_of(PYTHON, known_language("python"), "instruct", text) == Invalid("no_think_end")


def test_an_empty_answer_is_none():
    completion = answers.completion_of(RACKET, known_language("rkt"), answers.INSTRUCT, "```racket\n```")
    assert isinstance(completion, Invalid)


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_what_surrounds_the_program_is_left_out(name):
    """A call of it in a block of its own behind it, thoughts before it, a fence behind words."""
    tag, whole, wrong = LANGUAGES[name].fence, WHOLE[name], DEFINITION[name].replace("2", "7")
    block = f"```{tag}\n{whole}\n```"
    language = known_language(LANGUAGES[name].benchmark_suffix or name)
    for text in (
        f"{block}\nUse it so:\n```{tag}\nthe_call(2)\n```",
        f"<think>\n```{tag}\n{wrong}\n```\nNo.\n</think>\n\n{block}",
        f"Here it is: ```{tag}\n{whole}\n``` as asked.",
    ):
        given = answers.completion_of(PROBLEMS[name], language, answers.INSTRUCT, text)
        assert given == answers.completion_of(PROBLEMS[name], language, answers.INSTRUCT, block), text


@pytest.mark.parametrize("body", ["    r = 2 * n\n    return r", "    if n:\n        n = n + n\n    return n"])
@pytest.mark.parametrize("missing", ["no line", "the first line", "every line"])
def test_a_body_of_several_lines_is_indented_as_python_reads_it(body, missing):
    bare = {"no line": body, "the first line": body.lstrip(), "every line": body.replace("\n    ", "\n").lstrip()}
    text = bare[missing]
    completion = answers.completion_of(PYTHON, known_language("python"), answers.INSTRUCT, f"```python\n{text}\n```")
    assert not isinstance(completion, Invalid) and completion.text == body
