"""Planted matches are found and nothing else is, by the normalisation that the report states."""

import pytest

from azr_jax.evaluation.problems.records import EvalPlusProblem, Problem
from azr_jax.report.overlaps import Item, canonical, find

PROMPT = """#lang racket

;; Check if in given list of numbers, are any two numbers closer to each other than
;; given threshold.
;; >>> (has_close_elements (list 1.0 2.0 3.0) 0.5)
;; #f
(define (has_close_elements numbers threshold)
"""
RACKET = Problem("HumanEval_0_has_close_elements", "rkt", PROMPT, "", (), {})
SOLUTION = """    sorted_numbers = sorted(numbers)
    for left, right in zip(sorted_numbers, sorted_numbers[1:]):
        if right - left < threshold:
            return True
    return False
"""
PYTHON = EvalPlusProblem("HumanEval/0", 'def near(numbers):\n    """Near."""\n', "near", SOLUTION, (), (), 0.0, {})
INNOCENT = "(define (f xs)\n  (define a (map (lambda (v) (* v 2)) xs))\n  (append a (list 1 2 3 4 5 6)))"


def matched(items, problem, **settings):
    return find(items, [("humaneval", [problem])], **settings)


def test_canonical_text_drops_marks_and_renames_the_function():
    assert canonical(";; >>> (Has_Close 1.0)\n", "has_close") == ["f", "1", "0"]
    assert canonical("// Return  x+1\n#lang racket") == ["return", "x", "+", "1", "#", "lang", "racket"]
    assert canonical("\uff21\uff22") == ["ab"]  # full-width letters


@pytest.mark.parametrize(
    ("entry", "text", "words"),
    [
        (
            "max-profit",
            "(define (max-profit xs) (max-profit-2 xs max-profits))",
            "define f xs max - profit - 2 xs max - profits",
        ),
        ("max-profit", "Call max-profit. (- 3 (list-max-profit 1))", "call f - 3 list - max - profit 1"),
        ("Max-Profit", "max-profit -max-profit", "f - f"),
        ("max.profit", "max.profit(x.max.profit, max.profit)", "f x max profit f"),
        ("prime?", "(prime? 3) prime (primes? 1) (prime?2)", "f 3 prime primes ? 1 prime ? 2"),
        ("near", "near(nearly, near_by) + 1-near(2)", "f nearly near_by + 1 - f 2"),
        ("\uff4eear", "near", "f"),
    ],
)
def test_the_functions_name_is_renamed_where_it_is_whole(entry, text, words):
    assert canonical(text, entry) == words.split()


def test_a_name_with_hyphens_has_no_other_name_in_it():
    text = "(max-profit (profit 1) profit-of)"
    assert canonical(text, "profit") == "max - f f 1 f - of".split()
    assert canonical(text, "profit", hyphenated=True) == "max - profit f 1 profit - of".split()


@pytest.mark.parametrize(
    "mark",
    [
        "#",
        ";;",
        "//",
        "//!",
        "///",
        "--",
        "---",
        "/*",
        "/**",
        "*",
        "*/",
        ">>>",
        "!",
        "!>",
        "%",
        "%%",
        "(*",
        "(**",
        ";; >>>",
    ],
)
def test_a_comments_mark_is_no_part_of_its_text(mark):
    text = "Add two numbers\nand print the sum"
    marked = "\n".join(f"  {mark} {line}" for line in text.split("\n"))
    assert canonical(marked) == canonical(text)


def test_repeated_items_count_as_often_as_they_come():
    items = [
        Item("triplet", 1, PROMPT),
        Item("triplet", 2, INNOCENT),
        Item("triplet", 3, PROMPT),
        Item("x", 4, "short"),
    ]
    findings = matched([*items, *items], RACKET)
    (match,) = findings.matches
    assert (findings.items, findings.matching_items, match.times, findings.short_items) == (8, 4, 4, 2)
    assert match.item.step == 1


def test_a_planted_prompt_is_found_in_a_program_and_in_a_message():
    program = (
        "(define (f numbers threshold)\n"
        "  ; check if, in given list of NUMBERS, are any two numbers closer to each other than given threshold\n  #t)"
    )
    message = "Check if in given list of numbers, are any two numbers closer to each other than given threshold."
    planted = [Item("triplet", 7, program), Item("induction problem", 9, INNOCENT, message)]
    findings = matched([Item("triplet", 3, INNOCENT), *planted], RACKET)
    assert (findings.items, findings.short_items, findings.problems) == (3, 0, 1)
    assert {(match.item.step, match.part) for match in findings.matches} == {(7, "prompt"), (9, "prompt")}
    assert all(
        "are any two numbers closer to each other than given threshold" in match.shared for match in findings.matches
    )
    assert [match.overlap for match in findings.matches] == sorted((m.overlap for m in findings.matches), reverse=True)


def test_a_planted_solution_is_found_whatever_its_white_space_and_name():
    copied = "def f(numbers, threshold):\n" + SOLUTION.replace("    ", "\t")
    findings = matched([Item("triplet", 1, copied)], PYTHON)
    assert [(match.problem, match.part, match.overlap) for match in findings.matches] == [
        ("HumanEval/0", "solution", 1.0)
    ]


def test_a_part_of_a_problem_is_near_and_no_match():
    half = "given list of numbers, are any two numbers closer to each " + " ".join(f"w{number}" for number in range(20))
    findings = matched([Item("triplet", 1, half)], RACKET)
    assert not findings.matches
    (near,) = findings.nearest
    assert 0 < near.overlap < 0.5 and near.shared == "given list of numbers are any two numbers closer to each"
    assert matched([Item("triplet", 1, half)], RACKET, threshold=near.overlap).matches == (near,)


def test_other_programs_and_short_texts_are_clean():
    findings = matched([Item("triplet", 1, INNOCENT), Item("triplet", 0, "(define (f x) x)")], RACKET)
    assert not findings.matches and not findings.nearest and findings.short_items == 1


@pytest.mark.parametrize("settings", [{"n": 0}, {"threshold": 0}, {"threshold": 1.5}])
def test_numbers_that_make_no_comparison(settings):
    with pytest.raises(ValueError, match="use n of at least 1"):
        matched([], RACKET, **settings)
