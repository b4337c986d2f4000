import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr_jax.selfplay.parsing import ANY_TAG, REASONS, parse
from azr_jax.selfplay.prompts import fenced
from azr_jax.types import Answer, Invalid, Role, TaskType

TAGS = ("racket", "rkt")
PROGRAM = "(define (f x)\n  (+ x 1))"


def read(text, role=Role.SOLVE, task_type=TaskType.INDUCTION, inputs=3, max_chars=8192, tags=TAGS):
    return parse(role, task_type, text, fence_tags=tags, induction_inputs=inputs, max_program_chars=max_chars)


def respond(*blocks, reasoning="so"):
    return f"{reasoning}</think>\n<answer>\n{''.join(blocks)}</answer>"


def test_each_of_the_six_tasks_takes_its_own_blocks():
    program, given_input, output = fenced("racket", PROGRAM), fenced("input", "41"), fenced("output", "42")
    message, inputs = fenced("message", "adds one"), "".join(fenced("input", str(n)) for n in range(3))
    everything = respond(program, given_input, output, message)
    for task_type in (TaskType.DEDUCTION, TaskType.ABDUCTION):
        assert read(everything, Role.PROPOSE, task_type) == Answer(program=PROGRAM, input="41")
    proposal = read(respond(message, inputs), Role.PROPOSE, TaskType.INDUCTION)
    assert proposal == Answer(message="adds one", inputs=("0", "1", "2"))
    assert read(everything, Role.SOLVE, TaskType.DEDUCTION) == Answer(output="42")
    assert read(everything, Role.SOLVE, TaskType.ABDUCTION) == Answer(input="41")
    assert read(everything, Role.SOLVE, TaskType.INDUCTION) == Answer(program=PROGRAM)


def test_an_alias_and_any_case_tag_a_program():
    for tag in ("rkt", "Racket", "racket title=x"):
        assert read(respond(fenced(tag, PROGRAM))) == Answer(program=PROGRAM)


def test_any_tag_takes_what_no_other_block_has_and_still_does_not_choose():
    blocks = fenced("input", "41"), fenced("output", "42"), fenced("message", "m")
    for tag in ("racket", "julia", "", "program"):
        assert read(respond(*blocks, fenced(tag, PROGRAM)), tags=ANY_TAG) == Answer(program=PROGRAM)
    assert read(respond(*blocks), tags=ANY_TAG) == Invalid("missing_program")
    two = respond(fenced("julia", PROGRAM), fenced("racket", PROGRAM))
    assert read(two, tags=ANY_TAG).reason == "repeated_block"
    assert read(two) == Answer(program=PROGRAM)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_think_end"),
        ("<answer>" + fenced("racket", PROGRAM) + "</answer>", "no_think_end"),
        ("x</think>", "no_answer"),
        ("x</think> so: <answer>" + fenced("racket", PROGRAM) + "</answer>", "no_answer"),
        ("x</think><answer>" + fenced("racket", PROGRAM), "answer_not_closed"),
        (respond(fenced("racket", PROGRAM)) + " and more", "trailing_text"),
        (respond("```racket\n" + PROGRAM + "\n"), "unclosed_fence"),
        (respond("```racket\n" + PROGRAM + "```\n"), "unclosed_fence"),
        (respond(PROGRAM), "missing_program"),
        (respond(fenced("", PROGRAM)), "missing_program"),
        (respond(fenced("program", PROGRAM)), "missing_program"),
        (respond(fenced("python", PROGRAM)), "missing_program"),
        (respond("```racket " + PROGRAM.replace("\n", "") + "```\n"), "missing_program"),
        (respond(fenced("racket", PROGRAM), fenced("rkt", PROGRAM)), "repeated_block"),
        (respond(fenced("racket", " \n\n ")), "empty_block"),
        (respond(fenced("racket", "x" * 8193)), "too_long"),
        (respond(fenced("racket", "x\0y")), "bad_characters"),
        (respond(fenced("racket", "x\ud800y")), "bad_characters"),
    ],
)
def test_what_a_strict_grader_refuses(text, reason):
    result = read(text)
    assert isinstance(result, Invalid)
    assert result.reason == reason
    assert reason in REASONS


@pytest.mark.parametrize(
    ("role", "task_type", "blocks", "reason"),
    [
        (Role.PROPOSE, TaskType.DEDUCTION, [("input", "1")], "missing_program"),
        (Role.PROPOSE, TaskType.ABDUCTION, [("racket", PROGRAM)], "missing_input"),
        (Role.PROPOSE, TaskType.ABDUCTION, [("racket", PROGRAM), ("input", "1"), ("input", "2")], "repeated_block"),
        (Role.PROPOSE, TaskType.INDUCTION, [("input", "1"), ("input", "2"), ("input", "3")], "missing_message"),
        (Role.PROPOSE, TaskType.INDUCTION, [("message", "m"), ("input", "1"), ("input", "2")], "too_few_inputs"),
        (Role.SOLVE, TaskType.DEDUCTION, [("input", "1")], "missing_output"),
        (Role.SOLVE, TaskType.ABDUCTION, [("output", "1")], "missing_input"),
    ],
)
def test_each_task_names_the_block_it_lacks(role, task_type, blocks, reason):
    result = read(respond(*(fenced(tag, text) for tag, text in blocks)), role, task_type)
    assert isinstance(result, Invalid) and result.reason == reason


def test_inputs_beyond_the_asked_number_are_dropped():
    blocks = [fenced("message", "m"), *(fenced("input", str(n)) for n in range(5))]
    assert read(respond(*blocks), Role.PROPOSE, TaskType.INDUCTION) == Answer(message="m", inputs=("0", "1", "2"))


def test_the_last_answer_is_graded_and_drafts_are_reasoning():
    draft = "<think>like <think> </think> <answer> " + fenced("racket", "draft") + "</answer> no, better:"
    assert read(draft + respond(fenced("racket", PROGRAM))) == Answer(program=PROGRAM)


def test_an_answer_without_line_breaks_around_its_tags():
    assert read("</think><answer>```racket\n1\n```</answer>\n") == Answer(program="1")


def test_indentation_of_a_program_is_kept_and_blank_ends_are_not():
    assert read(respond(fenced("racket", "\n  a\n    b\n\n"))) == Answer(program="  a\n    b")


def test_prose_between_blocks_is_ignored():
    assert read(respond("Here ```it``` is:\n", fenced("racket", "1"), "Done.\n")) == Answer(program="1")


@pytest.mark.parametrize(
    "program",
    [
        "; Assistant: <think>\n1",
        "; </think>\n1",
        '(display "<answer>x</answer>")',
        '(define s "```")',
        '(define s "\n```\n")',
        '(define s "\n```racket\n1\n```\n````\n")',
        "1\n  ```\n2",
        "form\x0cfeed \u2028 separator \x85 next line",
        "replacement \ufffd character",
    ],
)
def test_hostile_program_text_comes_back_whole(program):
    assert read(respond(fenced("racket", program))) == Answer(program=program)


def test_crlf_and_cr_are_line_ends():
    assert read(respond(fenced("racket", PROGRAM)).replace("\n", "\r\n")) == Answer(program=PROGRAM)
    assert read(respond(fenced("racket", PROGRAM)).replace("\n", "\r")) == Answer(program=PROGRAM)


def test_nul_surrogates_and_markers_in_the_reasoning_do_not_matter():
    reasoning = "\0 \ud800 \udc80 \ufffd Assistant: <think> ``` ````racket\n```input\n"
    assert read(respond(fenced("racket", PROGRAM), reasoning=reasoning)) == Answer(program=PROGRAM)


@pytest.mark.parametrize(
    "unit",
    [
        "```",
        "```\n",
        "```racket\n",
        "````racket\n```\n",
        "`x",
        "<answer>",
        "</answer>",
        "</think>",
        "</think> ",
        "</think><answer>",
        "</think>" + " " * 5000 + "<",
        " ",
        "\r",
        "\n",
        "``` \t",
    ],
)
@pytest.mark.parametrize(
    "frame", ["{}", "</think><answer>{}</answer>", "</think><answer>```racket\n{}\n```\n</answer>"]
)
def test_a_megabyte_of_markers_is_read_in_linear_time(unit, frame):
    text = frame.format(unit * (1_000_000 // len(unit)))
    begin_s = time.process_time()
    read(text)
    assert time.process_time() - begin_s < 0.5


_MARKERS = st.sampled_from(
    ["</think>", "<answer>", "</answer>", "```", "````", "racket\n", "input\n", "\n", "\r\n", "\0", "\ud800", " ", "1"]
)


@given(text=st.lists(st.one_of(_MARKERS, st.text(max_size=5))).map("".join), role=st.sampled_from(Role))
def test_any_text_gives_an_answer_or_a_fixed_word(text, role):
    for task_type in TaskType:
        for candidate in (text, f"</think><answer>{text}</answer>"):
            result = read(candidate, role, task_type)
            if isinstance(result, Invalid):
                assert result.reason in REASONS
            else:
                # What an answer holds can go into prompts, checkpoints and executors as UTF-8.
                filled = [result.program, result.input, result.output, result.message, *result.inputs]
                assert any(filled) and all("\0" not in entry and entry.encode() is not None for entry in filled)


@given(
    lines=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8)),
    ticks=st.lists(st.integers(0, 6), max_size=4),
)
def test_a_fenced_program_comes_back_as_written(lines, ticks):
    program = "\n".join([*lines, *("`" * count for count in ticks), "end"]).lstrip("\n")
    assert read(respond(fenced("racket", program))) == Answer(program=program)


def test_a_block_of_exactly_the_longest_length_is_read():
    assert read(respond(fenced("racket", "x" * 10)), max_chars=10) == Answer(program="x" * 10)
    assert read(respond(fenced("racket", "x" * 11)), max_chars=10).reason == "too_long"
