import json
import time

import pytest
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from azr_jax.selfplay import parsing
from azr_jax.selfplay.entry import any_definition
from azr_jax.selfplay.parsing import ANY_TAG, REASONS, Form, parse
from azr_jax.selfplay.prompts import fenced
from azr_jax.types import TASK_TYPES, Answer, Invalid, Role, TaskType
from executors import LANGUAGES

TAGS = ("racket", "rkt")
PROGRAM = "(define (f x)\n  (+ x 1))"


def read(text, role=Role.SOLVE, task_type=TaskType.INDUCTION, inputs=3, max_chars=8192, tags=TAGS, format="strict"):
    return parse(role, task_type, text, Form(format, tags, inputs, max_chars))


def loosely(text, role=Role.SOLVE, task_type=TaskType.INDUCTION, tags=TAGS, inputs=3):
    """As acc is estimated: whatever the answer is, in its format or not."""
    return parsing.read(role, task_type, text, Form("azr", tags, inputs, 8192))


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
    assert read(respond(*blocks), tags=ANY_TAG).reason == "missing_program"
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
    if reason.startswith("missing"):
        assert result.detail == "tags of its blocks: " + ", ".join(repr(tag) for tag, _ in blocks)


def test_an_answer_without_blocks_says_so_and_an_empty_block_is_named():
    result = read(respond("just words"), Role.SOLVE, TaskType.INDUCTION)
    assert result == Invalid("missing_program", "it has no fenced block")
    result = read(respond(fenced("racket", PROGRAM), fenced("input", "")), Role.PROPOSE, TaskType.DEDUCTION)
    assert result == Invalid("empty_block", "the input")


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
        "</THINK><Answer>",
        " ",
        "\r",
        "\n",
        "``` \t",
        "```racket ",
        "x```racket",
        "```racket x``` ",
        "```racket\n``` x\n",
        "x```",
        "``````input",
        "```input```\n",
        "* ```\n",
        '"""\n```\n',
        "output is ",
        "# Output:\n",
        "<output>",
        "\nUser:",
        "the ",
        "output of `f` ",
        "f(1) ",
        "\nf(1) == ",
        "\nit returns ",
        "\nwhen f(",
        "\nfor input, ",
        ", so ",
        "\nf(1) # ",
        "> f\n",
        "[1] 1\n",
        "; ",
        "\n```python\n",
        "\\boxed{",
        "```text\n1\n```\n",
        "\nInput 1: ",
        "<program>",
    ],
)
@pytest.mark.parametrize(
    "frame", ["{}", "</think><answer>{}</answer>", "</think><answer>```racket\n{}\n```\n</answer>"]
)
@pytest.mark.ci
def test_many_markers_are_read_in_linear_time(unit, frame):
    text = frame.format(unit * (200_000 // len(unit)))
    for format_name in ("strict", "azr"):
        begin_s = time.process_time()
        read(text, format=format_name)
        loosely(text)
        loosely(text, task_type=TaskType.DEDUCTION)
        # Half a second or so; a quadratic step takes half a minute.
        assert time.process_time() - begin_s < 6.0


_MARKERS = st.sampled_from(
    ["</think>", "<answer>", "</answer>", "```", "````", "racket\n", "input\n", "\n", "\r\n", "\0", "\ud800", " ", "1"]
)


@given(text=st.lists(st.one_of(_MARKERS, st.text(max_size=5))).map("".join), role=st.sampled_from(Role))
def test_any_text_gives_an_answer_or_a_fixed_word(text, role):
    for task_type in TASK_TYPES if role is Role.PROPOSE else TaskType:
        for candidate in (text, f"</think><answer>{text}</answer>"):
            results = [read(candidate, role, task_type), read(candidate, role, task_type, format="azr")]
            for result in [*results, loosely(candidate, role, task_type).answer]:
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
    long_program = respond(fenced("racket", "x" * 11), fenced("input", "1"))
    long_input = respond(fenced("racket", "x"), fenced("input", "1" * 11))
    for text in (long_program, long_input):
        assert read(text, Role.PROPOSE, TaskType.DEDUCTION, max_chars=10).reason == "too_long"
    inputs = respond(fenced("message", "m"), fenced("input", "1"), fenced("input", "1" * 11))
    assert read(inputs, Role.PROPOSE, TaskType.INDUCTION, inputs=2, max_chars=10).reason == "too_long"


def test_a_program_that_is_indented_as_a_whole_loses_that_in_azr():
    indented = fenced("racket", "    a\n\n      b\n    c")
    assert read(respond(indented), format="azr") == Answer(program="a\n\n  b\nc")
    assert read(respond(indented)) == Answer(program="    a\n\n      b\n    c")
    for as_it_is in ("  a\nb", 'a\n  "\n  \n"'):
        assert read(respond(fenced("racket", as_it_is)), format="azr") == Answer(program=as_it_is)


# What models write for a right answer, by what is unusual about it.
RIGHT_PROGRAMS = {
    "as asked": respond(fenced("racket", PROGRAM)),
    "text after the answer": respond(fenced("racket", PROGRAM)) + "\nThat is all.",
    "a second answer that goes on": respond(fenced("racket", PROGRAM)) + "\n\n# Task: next",
    "no tag": respond(fenced("", PROGRAM)),
    "one line": respond("```racket (define (f x) (+ x 1))```\n"),
    "closing fence behind the code": respond("```racket\n" + PROGRAM + "```\n"),
    "never closed": respond("```racket\n" + PROGRAM + "\n"),
    "indented fences": respond("  ```racket\n" + PROGRAM + "\n  ```\n"),
    "an indented block": respond("  ```racket\n  " + PROGRAM.replace("\n", "\n  ") + "\n  ```\n"),
    "a draft first": respond(fenced("racket", "draft"), fenced("rkt", PROGRAM)),
    "words before the fence": respond("It is ```racket\n" + PROGRAM + "\n```\n"),
    "words behind the fence": respond("```racket\n" + PROGRAM + "\n``` and done.\n"),
    "the tag of a notebook": respond("```{racket}\n" + PROGRAM + "\n```\n"),
    "two on one line": respond("```racket (define (f x) (+ x 1))``` ```input 3```\n"),
    "another block beside it": respond(fenced("output", "42"), fenced("racket", PROGRAM), fenced("text", "so")),
}
RIGHT_OUTPUTS = {
    "as asked": respond(fenced("output", "'(1 2)")),
    "no fence": respond("'(1 2)\n"),
    "no tag": respond(fenced("", "'(1 2)")),
    "one line": respond("```output '(1 2)```"),
    "one line without a tag": respond("```'(1 2)```"),
    "one line in a sentence": respond("The value is ```output '(1 2)```, as asked."),
    "a fence behind words": respond("The value is ```output\n'(1 2)\n``` and nothing else."),
    "two blocks": respond(fenced("output", "0"), fenced("output", "'(1 2)")),
    "text after the answer": respond(fenced("output", "'(1 2)")) + " Done.",
}
# The first turn lacks the format; the next, which the model makes up, has it.
UNFORMATTED_TURNS = (
    "so</think> So: <answer>{0}</answer>\nUser: next\nAssistant: <think> x</think> <answer>{1}</answer>",
    "so</think><answer>{0}\n\nUser: next\nAssistant: <think> x</think> <answer>{1}</answer>",
    "{0}\n# Task: next\nAssistant: <think>x</think> <answer>{1}</answer>",
)
UNFORMATTED = {
    "no tags at all": fenced("racket", PROGRAM),
    "no answer tag": "so</think>\n" + fenced("racket", PROGRAM),
    "words before the answer": "so</think> So: <answer>" + fenced("racket", PROGRAM) + "</answer>",
    "the answer is cut": "so</think><answer>" + fenced("racket", PROGRAM),
    "no reasoning": "<answer>" + fenced("racket", PROGRAM) + "</answer>",
}


@pytest.mark.parametrize("form", RIGHT_PROGRAMS)
def test_azr_takes_every_common_form_of_a_program(form):
    answer = read(RIGHT_PROGRAMS[form], format="azr")
    assert isinstance(answer, Answer) and answer.program.split() == PROGRAM.split()
    assert not answer.program[0].isspace()


@pytest.mark.parametrize("form", RIGHT_OUTPUTS)
def test_azr_takes_every_common_form_of_a_value(form):
    assert read(RIGHT_OUTPUTS[form], task_type=TaskType.DEDUCTION, format="azr") == Answer(output="'(1 2)")
    asked = RIGHT_OUTPUTS[form].replace("output", "input")
    assert read(asked, task_type=TaskType.ABDUCTION, format="azr") == Answer(input="'(1 2)")


@pytest.mark.parametrize("form", UNFORMATTED)
def test_the_format_is_asked_for_when_it_is_rewarded_and_not_when_acc_is_estimated(form):
    reading = loosely(UNFORMATTED[form])
    assert isinstance(reading.checked, Invalid) and not reading.formatted
    assert reading.answer == Answer(program=PROGRAM)
    strict = parsing.read(Role.SOLVE, TaskType.INDUCTION, UNFORMATTED[form], Form("strict", TAGS, 3, 8192))
    assert isinstance(strict.answer, Invalid)


def test_azr_takes_proposals_whose_blocks_lack_tags():
    expected = Answer(program=PROGRAM, input="41")
    program, given = fenced("", PROGRAM), fenced("", "41")
    for blocks in (
        (fenced("racket", PROGRAM), given),
        (program, fenced("input", "41")),
        (program, given),
        (fenced("racket", PROGRAM), fenced("input", "0"), fenced("input", "41")),
    ):
        assert read(respond(*blocks), Role.PROPOSE, TaskType.DEDUCTION, format="azr") == expected
    alone = read(respond(program), Role.PROPOSE, TaskType.DEDUCTION, format="azr")
    assert alone == Invalid("missing_input", "tags of its blocks: none")


OUTPUT = fenced("output", "'(1 2)")
NEXT_TURNS = {
    "a user": "\nUser: another?\nAssistant: <think>x</think> <answer>" + fenced("output", "9") + "</answer>",
    "a task": "\n\n# Task: the next\nAssistant: <think> x</think><answer>" + fenced("output", "9") + "</answer>",
    "a chat": "<|im_end|>\n<|im_start|>assistant\n<think>x</think><answer>" + fenced("output", "9") + "</answer>",
    "a user without tags": "\n\nUser: next\n" + fenced("output", "9"),
}


@pytest.mark.parametrize("turn", NEXT_TURNS)
def test_a_turn_that_the_model_makes_up_is_not_its_answer(turn):
    text = respond(OUTPUT) + NEXT_TURNS[turn]
    assert read(text, task_type=TaskType.DEDUCTION, format="azr") == Answer(output="'(1 2)")
    untagged = OUTPUT + NEXT_TURNS["a user without tags"]
    assert loosely(untagged, task_type=TaskType.DEDUCTION).answer == Answer(output="'(1 2)")
    # A draft in the reasoning is not the answer either.
    draft = "<answer>" + fenced("output", "0") + "</answer> no:\n" + respond(OUTPUT)
    assert read(draft, task_type=TaskType.DEDUCTION, format="azr") == Answer(output="'(1 2)")


@pytest.mark.parametrize("form", UNFORMATTED_TURNS)
def test_the_format_of_a_made_up_turn_earns_nothing(form):
    reading = loosely(form.format(OUTPUT, fenced("output", "9")), task_type=TaskType.DEDUCTION)
    assert not reading.formatted and reading.answer == Answer(output="'(1 2)")


@pytest.mark.parametrize("before", ["", "so</think>\n", "Look at ```f```.\n\n## Task analysis\n\n</think>\nSo:\n"])
def test_a_task_in_a_comment_or_a_heading_is_no_turn(before):
    program = f"# Task: add one\n{PROGRAM}"
    assert loosely(before + fenced("racket", program)).answer == Answer(program=program)


@pytest.mark.parametrize(
    "tags", ["THINK ANSWER ANSWER", "Think Answer Answer", "think Answer Answer", "think answer Answer"]
)
def test_tags_may_be_in_any_case(tags):
    thought, opening, closing = tags.split()
    text = f"so</{thought}>\n<{opening}>\n" + fenced("output", "'<Answer>'") + f"</{closing}>"
    assert read(text, task_type=TaskType.DEDUCTION).reason in ("no_think_end", "no_answer", "answer_not_closed")
    answer = read(text.replace("'<Answer>'", "'x'"), task_type=TaskType.DEDUCTION, format="azr")
    assert answer == Answer(output="'x'")
    # Without the tags, nothing is one of them.
    assert loosely(fenced("racket", '(define (f) "<Answer>")')).answer == Answer(program='(define (f) "<Answer>")')


DEFINITION = any_definition(LANGUAGES["racket"])
BLOCK, INPUT = fenced("racket", PROGRAM), fenced("input", "41")
# What a proposer writes around its program and its input 41.
PROPOSALS = {
    "a call behind": BLOCK + INPUT + "Call:\n" + fenced("racket", "(f 41)"),
    "a second program, cut": BLOCK + INPUT + "```racket\n(define (f y)",
    "a draft with its input": fenced("racket", "(define (f z) z)") + fenced("input", "0") + BLOCK + INPUT,
    "the input first": INPUT + BLOCK,
    "headings, no tags": BLOCK + "Input:\n" + fenced("", "41") + "**Output:**\n" + fenced("", "42"),
    "no tags, an output": fenced("", PROGRAM) + fenced("", "41") + fenced("", "42"),
    "a plan without a tag": fenced("", "plan: add") + fenced("", PROGRAM) + INPUT,
    "a program that is not closed": f"```racket\n{PROGRAM}\n```input\n41\n```\n",
    "fences without a line end": f"```racket\n{PROGRAM}``````input\n41```",
    "closed by its own tag": f"```racket\n{PROGRAM}\n```racket\n{INPUT}",
    "an input in another tag": BLOCK + fenced("json", "41"),
    "an input in the program's tag": BLOCK + fenced("racket", "41"),
    "an input without a fence": BLOCK + "\n# Input:\n41\n",
    "names on lines of their own": f"```racket```\n{BLOCK}```input```\n{INPUT}",
    "names that open": f"```racket```\n{PROGRAM}\n```\n```input```\n41\n```\n",
    "a tag with a colon": BLOCK + fenced("input:", "41"),
    "a numbered tag": BLOCK + fenced("input_1", "41"),
    "a number behind the tag": BLOCK + fenced("input 1", "41"),
    "a list": "- ```racket\n  " + PROGRAM.replace("\n", "\n  ") + "\n  ```\n- ```input\n  41\n  ```\n",
    "punctuation behind a fence": f"```racket\n{PROGRAM}\n```.\n```input\n41\n```, as asked.",
    "a file's name": BLOCK.replace("```racket", "```racket main.rkt", 1) + INPUT,
    "attributes": BLOCK.replace("```racket", "```{.racket .numberLines}", 1) + INPUT,
    "in a fence around it": f"````markdown\n{BLOCK}````\n{INPUT}",
    "in a plain fence around it": f"```\n{BLOCK}```\n{INPUT}",
    "an empty block at the end": BLOCK + INPUT + "```input\n```\n",
    "inputs before their programs": fenced("input", "0") + fenced("racket", "(define (f z) z)") + INPUT + BLOCK,
    "a heading that is a sentence": "The input will be a number.\n" + fenced("", PROGRAM) + INPUT,
    "a heading of both": "Input and program:\n" + fenced("", PROGRAM) + fenced("", "41"),
    "an input under a heading": BLOCK + "Input:\n" + fenced("plaintext", "41") + "Output:\n" + fenced("text", "42"),
    "another tag": fenced("clojure", PROGRAM) + INPUT,
    "a tag of text": fenced("text", PROGRAM) + INPUT,
    "a tag with a comma": fenced("racket,", PROGRAM) + INPUT,
    "a tag with a version": fenced("racket8.7", PROGRAM) + INPUT,
    "in tags": f"<program>\n{PROGRAM}\n</program>\n<input>\n41\n</input>\n",
    "in tags of any case": f"<Program>\n{PROGRAM}\n</Program>\n<INPUT>\n41\n</INPUT>\n",
    "a tag of any case behind a program": BLOCK + "<Input>41</Input>",
    "a tag of any case in the block": BLOCK + fenced("input", "<Input>41</Input>"),
    "in the language's tags": f"<racket>\n{PROGRAM}\n</racket>\n" + INPUT,
    "no fence, a label": f"{PROGRAM}\n\nInput: 41\n",
    "no fence, a block": f"{PROGRAM}\n\n{INPUT}",
    "a word behind the tag": BLOCK.replace("```racket", "```racket showLineNumbers", 1) + INPUT,
    "a quoted title": BLOCK.replace("```racket", '```racket title="my file.rkt"', 1) + INPUT,
    "two tags": BLOCK + fenced("racket input", "41"),
    "two tags, the other way round": BLOCK + fenced("input racket", "41"),
    "a label in the block": BLOCK + fenced("input", "Input: 41"),
    "tags in the block": BLOCK + fenced("input", "<input>41</input>"),
    "bold in the block": BLOCK + fenced("input", "**41**"),
    "a fence within the input": BLOCK + f"```input\n{fenced('racket', '41')}```\n",
    "a fence that is code": BLOCK + "**Input:** ```41```\n",
    "tags around and behind": f"<program>```racket\n{PROGRAM}\n```</program>\n<input>```input\n41\n```</input>",
    "all in markdown": f"````markdown\n# Program\n{BLOCK}````\n{INPUT}",
    "in a wrapper that is not longer": f"```markdown\n# Program\n{BLOCK}```\n{INPUT}",
    "in a wrapper of any tag": f"```answer\n{BLOCK}```\n{INPUT}",
    "a hard space behind a fence": f"```racket\n{PROGRAM}\n```\u00a0\n{INPUT}",
    "a helper behind": BLOCK + fenced("racket", "(define (g x) x)") + INPUT,
}


@pytest.mark.parametrize("form", PROPOSALS)
def test_azr_takes_the_program_and_the_input_that_belong_together(form):
    how = Form("azr", TAGS, 3, 8192, DEFINITION)
    answer = parse(Role.PROPOSE, TaskType.DEDUCTION, respond(PROPOSALS[form]), how)
    assert isinstance(answer, Answer), answer
    assert (answer.program, answer.input) == (PROGRAM, "41")


# What a solver writes around a value, without a block of its tag.
VALUES = {
    "in the program's tag": fenced("racket", "'(1 2)"),
    "in another tag": fenced("json", "'(1 2)"),
    "in a sentence": "The output is '(1 2).",
    "in a sentence, as code": "So the output is `'(1 2)`.",
    "with a label": "**Output:** '(1 2)\n\nIt adds one.",
    "below a heading": "# Output:\n'(1 2)\n",
    "in tags": "<output>'(1 2)</output>",
    "in tags of any case": "<Output>'(1 2)</OUTPUT>",
    "behind an arrow": "Output => '(1 2)",
    "as code": "`'(1 2)`",
    "with a label in its block": fenced("output", "Output: '(1 2)"),
    "under a heading, beside an input": "Input:\n" + fenced("", "3") + "Output:\n" + fenced("", "'(1 2)"),
    "a name before the block": "```output``` block:\n" + fenced("output", "'(1 2)"),
    "an empty block behind": fenced("output", "'(1 2)") + "```output\n```\n",
    "a heading of another value": "The input is 3, so the function returns:\n" + fenced("", "'(1 2)"),
    "a label, another tag, an explanation": "**Output:**\n" + fenced("json", "'(1 2)") + "\nExplanation: it adds.\n",
    "a sentence, another tag": "The output is a list:\n" + fenced("racket", "'(1 2)") + "This is because x.\n",
    "in bold": "The final answer is **'(1 2)**",
    "with its input": "Output for the input is '(1 2)",
    "as code in a sentence that goes on": "The output will be `'(1 2)` because x.",
    "on two lines": "Output: '(1\n 2)",
    "as boxed": "So $\\boxed{'(1 2)}$.",
    "as a boxed text": "\\boxed{\\text{'(1 2)}}",
    "boxed in its block": fenced("output", "\\boxed{'(1 2)}"),
    "what the function returns": "The function `f` returns '(1 2).",
    "what a call returns": "`(f 3)` returns `'(1 2)`, as asked.",
    "what a call is": "f(3) == '(1 2)",
    "an arrow": "(f 3) -> '(1 2)",
    "a call in its block": fenced("output", "(f 3) => '(1 2)"),
    "a sentence in its block": fenced("output", "The result is '(1 2)."),
    "an assignment in its block": fenced("output", "output = '(1 2)"),
    "a session in its block": fenced("output", ">>> f(3)\n'(1 2)"),
    "another session in its block": fenced("output", "> (f 3)\n'(1 2)"),
    "Julia's session in its block": fenced("output", "julia> f(3)\n'(1 2)"),
    "the end of a statement": fenced("output", "'(1 2);"),
    "a call with a remark": fenced("racket", "(f 3) ; => '(1 2)"),
    "a call with a remark in words": fenced("python", "f(3)  # Output: '(1 2)"),
    "a call as code behind a word": "Therefore, `f(3)` returns `'(1 2)`.",
    "a call in the sentence": "So when we call f(3), the output will be '(1 2).",
    "an input in the sentence": "For the input `3`, the function returns `'(1 2)`.",
    "a word that ends in is": "An output that follows from this is '(1 2).",
    "what the function returned": "The value returned by f is '(1 2).",
    "behind a reason": "It has two elements, so the output is '(1 2).",
    "an inline formula": "The output is \\('(1 2)\\).",
    "a displayed formula": "The output is:\n\\[ '(1 2) \\]",
    "an echo in its block": fenced("output", "=> '(1 2)"),
    "R's echo in its block": fenced("output", "[1] '(1 2)"),
    "OCaml's echo in its block": fenced("output", "- : int list = '(1 2)"),
    "the output of a call": "The output of `(f 3)` is `'(1 2)`.",
    "its kind": "The output is the list '(1 2).",
    "a heading without a colon": "## Output\n\n'(1 2)\n\n## Explanation\nIt adds one.\n",
    "no words, then an explanation": "`'(1 2)`\n\nThis is because x.",
    "words that are no value, then a block": "The output is computed as follows:\n" + fenced("racket", "'(1 2)"),
    "more words that are no value": "## Answer\n\nThe function adds.\n\n" + fenced("racket", "'(1 2)"),
    "as a formula": "$'(1 2)$",
    "a fence that is code": "Output: ```'(1 2)```",
    "a fence within": "```output\n```racket\n'(1 2)\n```\n```\n",
    "a tag behind the fence": "<output>```output\n'(1 2)\n```</output>",
    "in tags around a block": "<output>\n" + fenced("racket", "'(1 2)") + "</output>",
}


@pytest.mark.parametrize("form", VALUES)
def test_azr_takes_a_value_however_it_is_said(form):
    answer = read(respond(VALUES[form]), task_type=TaskType.DEDUCTION, format="azr")
    assert isinstance(answer, Answer) and " ".join(answer.output.split()) == "'(1 2)"


@pytest.mark.parametrize(
    "text",
    [
        "input: 3",
        "input: [3], n: 2",
        "n=10",
        "1",
        "(1, 2)",
        '"<output>"',
        "'User: x'",
        "#t",
        "f'(3)'",
        "{1: 'f(3) == 7'}",
    ],
)
def test_a_value_in_its_block_is_left_as_it_is(text):
    assert read(respond(fenced("input", text)), task_type=TaskType.ABDUCTION, format="azr") == Answer(input=text)
    assert read(respond(f"```input {text}\n```\n"), task_type=TaskType.ABDUCTION, format="azr") == Answer(input=text)
    assert read(
        respond(f"```input\n{text}```\nSo:\n```\n(f 1)\n```\n"), task_type=TaskType.ABDUCTION, format="azr"
    ) == (Answer(input=text))


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        ("[1] 2 4", "c(2, 4)"),
        ("[1]  TRUE FALSE    NA", "c(TRUE, FALSE, NA)"),
        ('[1] "a b" "c\\"d"', 'c("a b", "c\\"d")'),
        ("[1] -1.5e+10 Inf\n [3] 3", "c(-1.5e+10, Inf, 3)"),
        ("[1] 6", "6"),
        ("[1] 1 = 2", "1 = 2"),
        ("[1] 2 4\nLevels: 2 4", "2 4\nLevels: 2 4"),
        ("[1, 2]", "[1, 2]"),
    ],
)
def test_what_r_prints_of_a_vector_is_the_vector(printed, value):
    assert read(respond(fenced("output", printed)), task_type=TaskType.DEDUCTION, format="azr") == Answer(output=value)
    strictly = read(respond(fenced("output", printed)), task_type=TaskType.DEDUCTION)
    assert strictly == Answer(output=printed)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Input: 1,\n 2\n\nIt works.", "1,\n 2"),
        ("Input: n = 1,\nk = [\n2]", "n = 1,\nk = [\n2]"),
        ("Input: 'John',\nOutput: 3", "'John',"),
        ("**Input:** 1,\n**Output:** 3", "1,"),
        ("### Input\n\n1. 2.\n\n### Why\nIt adds.", "1. 2."),
        ("### Input\n\n(1, 2)...", "(1, 2)..."),
        ("The input is (1, 2).", "(1, 2)"),
    ],
)
def test_an_input_said_on_several_lines_or_that_ends_in_a_dot(text, value):
    assert read(respond(text), task_type=TaskType.ABDUCTION, format="azr") == Answer(input=value)


def test_words_within_a_string_are_no_label():
    string = "'it is, so the output is 3'"
    for text in (f"The output is {string}.", f"Output: {string}", f"It has two words, so the output is {string}."):
        assert read(respond(text), task_type=TaskType.DEDUCTION, format="azr") == Answer(output=string)
    call = respond("So `f(3)` returns `'f(1) == 2'`.")
    assert read(call, task_type=TaskType.DEDUCTION, format="azr") == Answer(output="'f(1) == 2'")


def test_a_condition_in_words_is_no_label():
    text = "If x is odd, the output is 3.\n" + fenced("json", "[1]")
    assert read(respond(text), task_type=TaskType.DEDUCTION, format="azr") == Answer(output="[1]")


@pytest.mark.parametrize("text", ["'<output>x</output>'", "'\\\\boxed{7}'", '"""a\n\nThe output is 7"""', "'f(1) = 7'"])
def test_a_string_without_a_fence_is_a_value_whatever_it_says(text):
    assert read(respond(text), task_type=TaskType.DEDUCTION, format="azr") == Answer(output=text)


def written_texts():
    """(language, program, inputs) that the project's own files hold."""
    for line in (REPOSITORY / "tests/executors/argument_lists.jsonl").read_text().splitlines():
        record = json.loads(line)
        yield record["language"], record["program"], record["inputs"]
    for file in sorted((REPOSITORY / "azr_jax/embedded").glob("heldout_*.jsonl")):
        for record in map(json.loads, file.read_text().splitlines()):
            yield record["language"], record["program"], record.get("inputs") or [record["input"]]


def test_what_keeps_the_format_reads_as_it_was_written():
    for language, program, inputs in written_texts():
        tag = LANGUAGES[language].fence
        program, value = program.rstrip().lstrip("\n"), inputs[0].strip()
        text = respond("So:\n", fenced(tag, program), "Input:\n", fenced("input", value), "That is all.\n")
        for definition in ("", any_definition(LANGUAGES[language])):
            for tags in ((tag,), ANY_TAG):
                how = Form("azr", tags, 3, 8192, definition)
                assert parse(Role.PROPOSE, TaskType.DEDUCTION, text, how) == Answer(program=program, input=value)
                assert parse(Role.SOLVE, TaskType.INDUCTION, text, how) == Answer(program=program)
                assert parse(Role.SOLVE, TaskType.ABDUCTION, text, how) == Answer(input=value)


MESSAGE, INPUTS = fenced("message", "Adds one."), "".join(fenced("input", str(n)) for n in range(3))
PROBLEMS = {
    "as asked": MESSAGE + INPUTS,
    "the message behind": INPUTS + MESSAGE,
    "a message with a label": "**Message:** Adds one.\n\n" + INPUTS,
    "a message below a heading": "# Message:\nAdds one.\n\n" + INPUTS,
    "a message in tags": "<message>Adds one.</message>\n" + INPUTS,
    "a message without a tag": fenced("", "Adds one.") + INPUTS,
    "no tags": fenced("", "Adds one.") + "".join(fenced("", str(n)) for n in range(3)),
    "numbered inputs": MESSAGE + "".join(fenced(f"input{n}", str(n)) for n in range(3)),
    "inputs in the program's tag": MESSAGE + "".join(fenced("racket", str(n)) for n in range(3)),
    "outputs between": MESSAGE + "".join(fenced("input", str(n)) + fenced("output", "9") for n in range(3)),
    "a message in a block of text": fenced("text", "Adds one.") + INPUTS,
    "a message in a block of text behind": INPUTS + fenced("markdown", "Adds one."),
    "blocks of text": "".join(fenced("plaintext", text) for text in ("Adds one.", *"012")),
    "a heading without a colon": "## Message\nAdds one.\n\n## Inputs\n" + INPUTS,
    "in tags": "<message>Adds one.</message>\n" + "".join(f"<input>\n{n}\n</input>\n" for n in range(3)),
    "in tags of any case": "<Message>Adds one.</Message>\n" + "".join(f"<Input>{n}</Input>\n" for n in range(3)),
    "inputs in tags": MESSAGE + "<input>0</input> <input>1</input> <input>2</input>",
    "inputs in lines": MESSAGE + "".join(f"**Input {n}:** `{n}`\n" for n in range(3)),
    "labels in the blocks": MESSAGE + "".join(fenced("input", f"Input {n}: {n}") for n in range(3)),
    "a fence behind the message's tags": "<message>Adds one.</message> " + INPUTS,
    "on few lines": "```message Adds one.``` ```input 0``` ```input 1```\n```input 2```",
}


@pytest.mark.parametrize("form", PROBLEMS)
def test_azr_takes_a_message_and_inputs_however_they_are_tagged(form):
    answer = read(respond(PROBLEMS[form]), Role.PROPOSE, TaskType.INDUCTION, format="azr")
    assert answer == Answer(message="Adds one.", inputs=("0", "1", "2"))


def test_the_given_program_beside_a_message_is_no_input():
    inputs = "".join(fenced("racket", str(n)) for n in range(3))
    for blocks in (BLOCK + inputs + MESSAGE, fenced("", PROGRAM) + MESSAGE + inputs, BLOCK + MESSAGE + INPUTS):
        answer = parse(Role.PROPOSE, TaskType.INDUCTION, respond(blocks), Form("azr", TAGS, 3, 8192, DEFINITION))
        assert answer == Answer(message="Adds one.", inputs=("0", "1", "2"))


@pytest.mark.parametrize(
    ("language", "program"),
    [
        ("julia", '"""\n    f(x)\n\n# Examples\n```jldoctest\njulia> f(1)\n2\n```\n"""\nf(x) = x + 1'),
        ("python", 'def f(x):\n    """Adds.\n\n    ```\n    f(1)\n    ```\n    """\n    return x + 1'),
        ("javascript", "/**\n * ```js\n * f(1)\n * ```\n */\nfunction f(x) { return x; }"),
        ("r", "#' ```\n#' f(1)\n#' ```\nf <- function(x) x"),
        ("javascript", "function f(x) { return x.split('```').length; }"),
        ("python", "def f(x):\n    '''\n    ```\n    f(1)\n    ```\n    '''\n    return x"),
        ("python", 'def f(x):\n    return x.count(\'"""\')'),
    ],
)
def test_fences_in_a_program_s_comments_and_docstrings_are_part_of_it(language, program):
    how = Form("azr", (LANGUAGES[language].fence,), 3, 8192, any_definition(LANGUAGES[language]))
    text = respond(f"```{language}\n{program}\n```\nIt works:\n```{language}\nf(1)\n```\n")
    assert parse(Role.SOLVE, TaskType.INDUCTION, text, how) == Answer(program=program)


def test_no_block_of_text_is_a_program_of_any_language():
    for tag in ("text", "json", "bash", "console"):
        text = respond(fenced("racket", PROGRAM), fenced(tag, "42"))
        assert read(text, tags=ANY_TAG, format="azr") == Answer(program=PROGRAM)


def test_the_outputs_of_text_blocks_are_no_message():
    blocks = "".join(fenced("input", str(n)) + fenced("text", "9") for n in range(3))
    assert read(respond(blocks), Role.PROPOSE, TaskType.INDUCTION, format="azr").reason == "missing_message"


@pytest.mark.parametrize(
    "text",
    ["Adds one, because it can.", "Adds one for the input", "The message is a secret.", "It adds (one).\n\nTry!"],
)
def test_a_message_is_left_as_it_is(text):
    answer = Answer(message=text, inputs=("0", "1", "2"))
    for message in (fenced("message", text), f"Message: {text}\n", fenced("text", text)):
        assert read(respond(message, INPUTS), Role.PROPOSE, TaskType.INDUCTION, format="azr") == answer


def test_a_program_is_found_without_fences():
    how = Form("azr", TAGS, 3, 8192, DEFINITION)
    for text in (PROGRAM, f"So:\n<code>\n{PROGRAM}\n</code>", fenced("output", PROGRAM), fenced("f", PROGRAM)):
        assert parse(Role.SOLVE, TaskType.INDUCTION, respond(text), how) == Answer(program=PROGRAM)
    two = PROGRAM.replace("(define", "; Adds.\n\n(define")
    for text in (f"It adds one:\n\n{two}\n\nThis works.", f"So:\n\n{two}\n\n(f 1)\n\nThat is all."):
        answer = parse(Role.SOLVE, TaskType.INDUCTION, respond(text), how)
        assert isinstance(answer, Answer) and answer.program.removesuffix("\n\n(f 1)") == two
    for text in (f"I define {PROGRAM}", "<code>f</code>", fenced("python", PROGRAM)):
        assert parse(Role.SOLVE, TaskType.INDUCTION, respond(text), how).reason == "missing_program"


def test_a_program_tagged_as_another_language_is_none():
    assert read(respond(fenced("python", PROGRAM)), format="azr").reason == "missing_program"
    assert read(respond(fenced("python", PROGRAM)), tags=ANY_TAG, format="azr") == Answer(program=PROGRAM)


def test_every_reason_is_said_in_words():
    assert all(len(words.split()) >= 3 for words in REASONS.values())
