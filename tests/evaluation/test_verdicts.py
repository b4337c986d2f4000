"""The judges against the recorded verdicts: what is true by default, what MultiPL-E said with its own policy."""

import pytest
from recorded import needs, needs_data, recorded, recorded_python, some

from azr_jax.evaluation.judging.judge import MULTIPL_E, SOUND, CompletionJudge

pytestmark = needs_data
LANGUAGES = [pytest.param(suffix, marks=needs(suffix)) for suffix in ("rkt", "js", "jl")]


def judged(suffix, policy, items, timeout_s):
    with CompletionJudge(suffix, policy, timeout_s=timeout_s) as judge:
        return list(judge.judge_all([item[:2] for item in items]))


def differing(items, judgements, key):
    wrong = []
    for (_, _, row), judgement in zip(items, judgements, strict=True):
        if row[key] is not None and judgement.passed != row[key]:
            wrong.append((row["name"], row["kind"], judgement.status, judgement.stderr[:200]))
    return wrong


@pytest.mark.parametrize(
    ("suffix", "count"),
    [
        pytest.param("rkt", 40, marks=needs("rkt")),
        pytest.param("js", 45, marks=needs("js")),
        pytest.param("jl", 6, marks=[needs("jl"), pytest.mark.ci]),
    ],
)
def test_sound_judgement_of_some_recorded_completions(suffix, count, sound_judge):
    items = some(recorded(suffix), count)
    judgements = list(sound_judge(suffix).judge_all([item[:2] for item in items]))
    assert not differing(items, judgements, "should_pass")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", LANGUAGES)
def test_sound_judgement_of_every_recorded_completion(suffix):
    items = recorded(suffix)
    judgements = judged(suffix, SOUND, items, 0.0)
    assert not differing(items, judgements, "should_pass")
    # The documented choices where the recorded truth is a matter of policy.
    policy = {
        row["kind"]: j.passed for (_, _, row), j in zip(items, judgements, strict=True) if row["should_pass"] is None
    }
    expected = {
        "rkt": {
            "flood_stdout_200KB_then_correct": True,
            "full_no_lang_line": False,
            "inexact_for_exact": True,
            "slow_8s_then_correct": True,
        },
        "js": {"flood_stdout_200KB_then_correct": True, "loose_equality_string": True},
        "jl": {},
    }
    assert policy == expected[suffix]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", LANGUAGES)
def test_multipl_e_judgement_of_every_recorded_completion(suffix):
    items = recorded(suffix)
    judgements = judged(suffix, MULTIPL_E, items, 30.0 if suffix == "jl" else 0.0)
    assert not differing(items, judgements, "expected_pass")
    # As process 1 of its namespace a program cannot kill itself by a signal and ends in another way. One that takes
    # memory without end meets the limit of memory or of time, whichever is first, as it did when it was recorded.
    words = {
        (row["name"], row["kind"])
        for (_, _, row), judgement in zip(items, judgements, strict=True)
        if judgement.status != row["expected_status"]
        and not (row["expected_status"] == "Timeout" and judgement.status == row["recorded_status"])
        and "signal" not in row["kind"]
        and row["kind"] != "abort"
    }
    assert not words


@needs("js")
def test_multipl_e_judgement_of_some_recorded_completions():
    items = some(recorded("js"), 40)
    assert not differing(items, judged("js", MULTIPL_E, items, 15.0), "expected_pass")


@pytest.mark.parametrize("dataset", ["humanevalplus", "mbppplus"])
def test_evalplus_verdicts_of_some_recorded_completions(dataset, sound_judge):
    items = [item for item in recorded_python(dataset) if item[2]["expected_status"] in ("OK", "Fail")][::45]
    judgements = list(sound_judge("py").judge_all([item[:2] for item in items]))
    verdicts = [(row["name"], row["base_status"], row["plus_status"]) for _, _, row in items]
    assert [(j.name, j.base.replace("timeout", "fail"), j.plus.replace("timeout", "fail")) for j in judgements] == [
        (name, *(status.replace("timeout", "fail") for status in statuses)) for name, *statuses in verdicts
    ]


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["humanevalplus", "mbppplus"])
def test_evalplus_verdicts_of_every_recorded_completion(dataset):
    items = recorded_python(dataset)
    judgements = judged("py", SOUND, items, 0.0)
    wrong = {
        judgement.name
        for (_, _, row), judgement in zip(items, judgements, strict=True)
        if judgement.passed != (row["expected_status"] == "OK")
    }
    # Its loops of a hundred million turns pass or not by the machine's speed.
    assert wrong <= {"Mbpp/599"}
