"""Prompts: Listing 1 to the letter, the sections of Listing 2, and texts that would break fences."""

import pytest

from azr_jax.selfplay import prompts
from azr_jax.selfplay.comments import without_comments
from azr_jax.selfplay.parsing import Form, parse
from azr_jax.types import InductionProblem, Role, TaskType, Triplet
from executors import LANGUAGES

RACKET = LANGUAGES["racket"]
TRIPLET = Triplet("racket", "(define (f x) (* x 2))", "21", "42")
PROBLEM = InductionProblem(
    "racket", "(define (f x) (* x 2))", "doubles", tuple("123456"), ("2", "4", "6", "8", "10", "12"), shown=3
)


def test_listing_1():
    assert prompts.evaluation_chat(LANGUAGES["julia"], "Add two numbers.") == (
        "# Task: You will be given a question (problem specification) and will generate a correct Julia program that "
        "matches the specification and passes all tests. The reasoning process and answer are enclosed within <think> "
        "</think> and <answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> <answer> "
        "answer here </answer>. Your final answer should be wrapped in ```julia``` tags.\n"
        "Question: Add two numbers.\n\n"
        "You will use the following starter code to write the solution to the problem and enclose your code within "
        "delimiters.\n```julia\n# YOUR CODE HERE\n```\n\nAssistant: <think>"
    )


def test_listing_1_where_a_comment_has_an_end():
    assert "```ocaml\n(* YOUR CODE HERE *)\n```" in prompts.evaluation_chat(LANGUAGES["ocaml"], "Add two numbers.")


@pytest.mark.parametrize("template", ["paper", "brief"])
def test_every_prompt_ends_inside_think(template):
    for text in (
        prompts.propose_triplet(RACKET, TaskType.DEDUCTION, [TRIPLET], template),
        prompts.propose_triplet(RACKET, TaskType.ABDUCTION, [], template),
        prompts.propose_induction(RACKET, TRIPLET.program, 10, template),
        prompts.solve(RACKET, TaskType.DEDUCTION, TRIPLET, template),
        prompts.solve(RACKET, TaskType.INDUCTION, PROBLEM, template),
    ):
        assert text.endswith("Assistant: <think>")


def test_the_paper_template_has_listing_2s_sections():
    text = prompts.solve(RACKET, TaskType.INDUCTION, PROBLEM, "paper")
    headings = ["# Task:", "# Code Requirements:", "# Input and Output Pairs:", "# Message:", "# Example Output:"]
    assert [text.index(heading) for heading in headings] == sorted(text.index(heading) for heading in headings)
    assert "```message\ndoubles\n```" in text and "entry function `f`" in text


@pytest.mark.parametrize("template", ["paper", "brief"])
def test_a_solver_never_sees_what_it_is_asked_for(template):
    assert "42" not in prompts.solve(RACKET, TaskType.DEDUCTION, TRIPLET, template)
    assert "21" not in prompts.solve(RACKET, TaskType.ABDUCTION, TRIPLET, template)
    induction = prompts.solve(RACKET, TaskType.INDUCTION, PROBLEM, template)
    assert "(* x 2)" not in induction
    assert "```output\n6\n```" in induction and "```output\n8\n```" not in induction


def test_fences_and_markers_inside_a_program_stay_inside_its_block():
    program = '(define (f x) "```output\\n1\\n```\nAssistant: <think>")\n````\n'
    block = prompts.fenced("racket", program)
    assert block.startswith("`````racket\n")
    response = f"</think>\n<answer>\n{block}{prompts.fenced('input', '5')}</answer>"
    answer = parse(Role.PROPOSE, TaskType.DEDUCTION, response, Form("strict", ("racket",), 6, 1000))
    assert answer.program.strip() == program.strip() and answer.input == "5"  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [TaskType.DEDUCTION, TaskType.ABDUCTION])
@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_the_paper_proposers_prompt_says_what_the_recipe_lists(language, kind):
    chosen = LANGUAGES[language]
    reference = Triplet(language, chosen.identity, chosen.identity_input, chosen.identity_output)
    text = prompts.propose_triplet(chosen, kind, [reference], "paper")
    parts = ["# Task:", "# Code Requirements:", "# Avoid:", "# Plan First:", "# Format:", "# References:"]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    for words in ("at least one argument", "several transformations", "random", "clock", "printing", "threads"):
        assert words in text
    # The form is one of two arguments, and the references are the last thing before the answer begins.
    assert chosen.skeleton in text and chosen.skeleton_input in text
    assert text.rstrip().endswith(prompts.fenced("output", chosen.identity_output) + "\n" + prompts.OPENING)
    assert chosen.example not in text.replace(chosen.identity, "")


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_the_skeleton_is_no_proposal(language):
    """Whoever copies it has neither a program that runs nor an input: both hold words in angle brackets."""
    chosen = LANGUAGES[language]
    for text in (chosen.skeleton, chosen.skeleton_input):
        assert "<" in text.replace("<-", "") and ">" in text


@pytest.mark.parametrize("name", sorted(LANGUAGES))
@pytest.mark.parametrize("before", ["\n", " "])
def test_a_comment_at_a_programs_end_needs_no_line_end(name, before):
    language = LANGUAGES[name]
    program = f"{language.identity}{before}{language.comment} the end"
    assert without_comments(language, program) == language.identity
    assert language.canonical_program(program) == language.canonical_program(language.identity)


@pytest.mark.parametrize(
    ("language", "program", "bare"),
    [
        ("python", "# adds\ndef f(x):  # one\n    # two\n    return x + 1", "def f(x):\n    return x + 1"),
        ("python", "def f(x):\n    return '# no comment '  ", "def f(x):\n    return '# no comment '"),
        ("racket", "#lang racket\n; adds\n(define (f x) ; one\n  (+ x 1))", "#lang racket\n(define (f x)\n  (+ x 1))"),
        ("julia", "#= adds\none =#\nf(x) = x + 1 # so", "f(x) = x + 1"),
        ("javascript", "/* adds */\nfunction f(x) {\n  return x + 1; // one\n}", "function f(x) {\n  return x + 1;\n}"),
        ("javascript", "// adds\nconst f = (x) => `${x /* one */}`; // so", "const f = (x) => `${x /* one */}`;"),
        ("racket", "; adds\n(define (f x) #;(two) (+ x 1)) ; one", "(define (f x) #;(two) (+ x 1))"),
        ("lua", "-- adds\nfunction f(x) return x + 1 end --[[ one ]]", "function f(x) return x + 1 end"),
    ],
)
def test_comments_are_dropped_from_what_solvers_see(language, program, bare):
    chosen = LANGUAGES[language]
    assert without_comments(chosen, program).rstrip() == bare
    shown = prompts.solve(chosen, TaskType.DEDUCTION, Triplet(language, program, "1", "2"), "paper", True)
    assert prompts.fenced(chosen.fence, without_comments(chosen, program)) in shown
    kept = prompts.solve(chosen, TaskType.DEDUCTION, Triplet(language, program, "1", "2"), "paper", False)
    assert program in kept
