"""Prompts and answers of both modes, and MultiPL-E's tests taken apart."""

import pytest
from recorded import DATA, needs_data
from test_cheats import JULIA, PYTHON, RACKET

from azr_jax.evaluation.judging import assertions
from azr_jax.evaluation.languages.known import known_language, known_languages
from azr_jax.evaluation.problems.records import load
from azr_jax.evaluation.scoring import answers
from azr_jax.types import Invalid
from executors import LANGUAGES

FORMS = {language.suffix: language.form for language in known_languages().values()}


def test_the_prompt_is_stripped():
    assert answers.prompt_of(RACKET, LANGUAGES["racket"], "completion") == RACKET.prompt.strip()
    assert answers.prompt_of(PYTHON, LANGUAGES["python"], "completion") == "def twice(n):\n"
    chat = answers.prompt_of(RACKET, LANGUAGES["racket"], "chat")
    assert f"Question: {RACKET.prompt.strip()}\n" in chat and chat.endswith("Assistant: <think>")


def test_stop_tokens_are_for_completions_only():
    assert answers.stop_of(RACKET, known_language("rkt"), "completion") == ("\n(define ",)
    assert answers.stop_of(RACKET, known_language("rkt"), "chat") == ("</answer>",)


def test_the_empty_line_is_no_stop_token_unless_as_published():
    julia = known_language("jl")
    assert answers.stop_of(JULIA, julia, "completion") == ()
    assert answers.stop_of(JULIA, julia, "completion", published=True) == ("\n\n",)
    assert answers.cut_as_published(JULIA, julia, "  a = 2n\n\n  a\nend\n") == "  a = 2n"
    assert answers.cut_as_published(JULIA, julia, "  2n\nend\n") == "  2n\nend\n"
    assert answers.cut_as_published(RACKET, known_language("rkt"), "a\n\nb") == "a\n\nb"


TWICE = "```julia\ntwice(n) = 2n\n```\n"


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("so </think> <answer>```julia\nf(x) = 1\n\ng(x) = 2\n```", "f(x) = 1\n\ng(x) = 2"),
        ("so </think> <answer>\n```julia\nf(x) = 1\n```\n</answer>", "f(x) = 1"),
        ("no tags\n```julia\nfirst\n```\nor\n```jl\nlast\n```\n", "last"),
        ("no tags\r\n```julia\r\nf(x) = 1\r\n\r\ng(x) = 2\r\n```\r\nbye", "f(x) = 1\n\ng(x) = 2"),
        ("so </think> <answer>\n```julia\nfirst\n```\n```julia\nlast\n```</answer>", "last"),
        # As training takes them: without a tag, indented, with a draft in the thoughts, with a call behind.
        ("```julia\ndraft\n```\n</think> <answer>\n```\nf(x) = 1\n```\n</answer>", "f(x) = 1"),
        ("so </think> <answer>\n  ```julia\n  f(x) = 1\n  ```\n</answer>", "f(x) = 1"),
        ("so </think> <answer>\n~~~julia\nf(x) = 1\n~~~\n</answer>", "f(x) = 1"),
        (f"so </think> <answer>{TWICE}```julia\ntwice(2)\n```\n</answer>", "twice(n) = 2n"),
        # Not in the format: a fence on the line of the tag, a call behind, words before the answer.
        (f"so </think>\nFinal:\n<answer>{TWICE}</answer>", "twice(n) = 2n"),
        (f"<answer>{TWICE}```julia\ntwice(2)\n```\n</answer>", "twice(n) = 2n"),
        (f"```julia\ntwice(n) = 9n\n```\n</think>\nSo:\n{TWICE}", "twice(n) = 2n"),
    ],
)
def test_the_program_of_a_chat_answer(text, program):
    completion = answers.completion_of(JULIA, known_language("julia"), "chat", text)
    assert not isinstance(completion, Invalid)
    assert (completion.text, completion.whole) == (program, True)


def test_a_tab_is_four_spaces_to_evalplus():
    for mode, text in (("completion", "\treturn 2 * n\n"), ("chat", "```python\n\treturn 2 * n\n```")):
        completion = answers.completion_of(PYTHON, known_language("python"), mode, text)
        assert not isinstance(completion, Invalid) and completion.text.rstrip() == "    return 2 * n"
    completion = answers.completion_of(JULIA, known_language("julia"), "completion", "\treturn 1")
    assert not isinstance(completion, Invalid) and completion.text == "\treturn 1"


def test_a_chat_answer_in_racket_gets_its_lang_line():
    text = "</think><answer>```racket\n(define (twice n) (* 2 n))\n```"
    completion = answers.completion_of(RACKET, known_language("racket"), "chat", text)
    assert not isinstance(completion, Invalid)
    assert completion.text == "#lang racket\n(define (twice n) (* 2 n))"


def test_no_program_is_a_reason():
    completion = answers.completion_of(JULIA, known_language("julia"), "chat", "I do not know")
    assert isinstance(completion, Invalid) and completion.reason == "no_think_end"


def test_tests_are_taken_apart():
    tests = assertions.parse(FORMS["jl"], JULIA.tests)
    assert tests is not None
    assert (tests.function, tests.calls, tests.expected) == ("twice", ("candidate(2)", "candidate(5)"), ("4", "10"))
    racket = assertions.parse(FORMS["rkt"], RACKET.tests)
    assert racket is not None
    assert (racket.calls, racket.tolerance) == (("(candidate 2)", "(candidate 5)"), ("0.001", "0.001"))


def test_brackets_and_quotes_in_strings_are_no_structure():
    line = r'  assert.deepEqual(candidate("a),(\"", [1, "]"]),{"x)": "}"});' + "\n"
    head = "const assert = require('node:assert');\n\n\nfunction test() {\n  let candidate = g;\n"
    tests = assertions.parse(FORMS["js"], f"{head}{line}}}\n\ntest();")
    assert tests is not None
    assert tests.calls == (r'candidate("a),(\"", [1, "]"])',)
    assert tests.expected == ('{"x)": "}"}',)


@pytest.mark.parametrize(
    "text", ["", "test();", JULIA.tests.replace("candidate(2)", "candidate(2"), JULIA.tests + "exit(0)"]
)
def test_another_form_is_not_taken_apart(text):
    assert assertions.parse(FORMS["jl"], text) is None


@needs_data
@pytest.mark.parametrize(("suffix", "mark"), [("rkt", "(check-within "), ("jl", "@test("), ("js", "assert.deepEqual(")])
def test_every_assertion_of_every_problem_is_found(suffix, mark):
    for benchmark in ("humaneval", "mbpp"):
        for problem in load(DATA / "multipl-e" / f"{benchmark}-{suffix}.jsonl"):
            tests = assertions.parse(FORMS[suffix], problem.record["tests"])
            assert tests is not None, problem.name
            assert len(tests.calls) == len(tests.expected) == problem.record["tests"].count(mark), problem.name
