"""The pretraining corpus: its programs run as expected in every language, and held-out problems are not in it."""

import collections
import random
import subprocess
import sys

import pytest
from conftest import ci_in

from azr_jax.evaluation.scoring import heldout
from azr_jax.pretrain import corpus, transcripts
from azr_jax.pretrain.operations import LANGUAGE_ORDER
from azr_jax.pretrain.programs import Program, random_inputs, random_program
from azr_jax.selfplay.parsing import Form, parse
from azr_jax.types import TASK_TYPES, Answer, Role
from configs import tiny
from executors import LANGUAGES

CONFIG = tiny.get_config()


@pytest.fixture(scope="module")
def splits():
    counts = dict(zip(CONFIG.pretrain.languages, CONFIG.pretrain.programs, strict=True))
    return corpus.splits(CONFIG.seed, CONFIG.selfplay.induction_inputs, CONFIG.pretrain.heldout, counts)


@pytest.mark.parametrize("language", ci_in(("racket", "julia", "javascript", "python", "lua"), "julia"))
def test_the_real_interpreter_agrees_on_every_operation(language):
    if LANGUAGES[language].find() is None:
        pytest.skip(f"{language} is not installed: {LANGUAGES[language].install_hint}")
    drawn = corpus.draw(60, 3, random.Random(1), set())
    seen = {step.operation.name for item in drawn for step in item.program.steps}
    assert len(seen) == 24
    examples = corpus.run(language, drawn, workers=1)  # raises where an interpreter disagrees
    assert len(examples) == 60 and all(len(example.outputs) == 3 for example in examples)


def test_a_disagreement_with_the_interpreter_is_an_error(monkeypatch):
    drawn = corpus.draw(3, 2, random.Random(2), set())
    monkeypatch.setattr(Program, "trace", lambda self, value: [value, 98765])
    monkeypatch.setattr(Program, "invert", lambda self, output: None)
    with pytest.raises(RuntimeError, match="was expected"):
        corpus.run("python", drawn, workers=1)


@pytest.mark.ci
def test_held_out_programs_are_not_pretraining_programs_by_canonical_text(splits):
    for language in CONFIG.pretrain.languages:
        canonical = LANGUAGES[language].canonical_program
        pretraining = {canonical(item.program.source(language)) for item in splits[language]}
        for split in ("heldout", "validation"):
            reserved = {canonical(item.program.source(language)) for item in splits[split]}
            assert len(reserved) >= 300
            assert not reserved & pretraining


@pytest.mark.ci
def test_the_shipped_held_out_problems_are_those_of_the_split(splits):
    canonical = LANGUAGES["racket"].canonical_program
    problems = heldout.load("azr_jax/embedded/heldout_racket.jsonl")
    assert len(problems) >= 300
    assert collections.Counter(kind for kind, _ in problems).keys() == set(TASK_TYPES)
    shipped = {canonical(item.program) for _, item in problems}
    assert shipped == {canonical(item.program.source("racket")) for item in splits["heldout"]}


@pytest.mark.ci
def test_lua_is_in_no_pretraining_and_its_held_out_programs_are_those_of_the_other_languages(splits):
    assert "lua" not in CONFIG.pretrain.languages and "lua" not in LANGUAGE_ORDER
    for split in ("heldout", "validation"):
        problems = heldout.load(f"azr_jax/embedded/{split}_lua.jsonl")
        assert [item.program for _, item in problems] == [item.program.source("lua") for item in splits[split]]
        others = heldout.load(f"azr_jax/embedded/{split}_racket.jsonl")
        assert [kind for kind, _ in problems] == [kind for kind, _ in others]


def test_undoing_a_program_gives_an_argument_with_the_same_output():
    rng, undone = random.Random(3), 0
    for _ in range(500):
        program = random_program(rng)
        values = random_inputs(program, 1, rng)
        if values is None:
            continue
        trace = program.trace(values[0])
        backward = program.invert(trace[-1])
        if backward is not None:
            undone += 1
            assert program.trace(backward[-1])[-1] == trace[-1]
    assert undone > 300


def _transcripts(count):
    drawn = corpus.draw(60, 6, random.Random(4), set())
    return corpus.write(corpus.run("python", drawn, workers=1), count, shown=4, references=2, clean=False, seed="t")


def test_styles_and_tasks_have_their_documented_shares():
    written = _transcripts(4000)
    solvers = [transcript for transcript in written if transcript.role is Role.SOLVE]
    styles = collections.Counter(transcript.style for transcript in solvers)
    for style, share in transcripts.SOLVER_STYLES.items():
        assert styles[style] / len(solvers) == pytest.approx(share, abs=0.04)
    tasks = collections.Counter((transcript.role, transcript.type) for transcript in written)
    for task, share in transcripts.TASK_SHARES.items():
        assert tasks[task] / len(written) == pytest.approx(share, abs=0.03)


def test_clean_transcripts_are_right_reasoned_and_formatted():
    drawn = corpus.draw(60, 6, random.Random(5), set())
    written = corpus.write(corpus.run("python", drawn, workers=1), 300, 4, 2, clean=True, seed="c")
    assert all(transcript.right and transcript.style in ("reasoned", "planned") for transcript in written)


def test_formatted_styles_parse_and_unformatted_ones_do_not():
    for transcript in _transcripts(600):
        parsed = parse(transcript.role, transcript.type, transcript.response, Form("strict", ("python",), 6, 1024))
        cut_short = transcript.role is Role.PROPOSE and not transcript.right
        if transcript.style == "unformatted":
            assert not isinstance(parsed, Answer)
        elif not cut_short:
            assert isinstance(parsed, Answer), transcript


def test_the_command_writes_the_problems_of_a_language_that_is_left_out(tmp_path):
    if LANGUAGES["lua"].find() is None:
        pytest.skip("Lua is not installed")
    command = [sys.executable, "-m", "azr_jax.pretrain", "--problems=lua", f"--config.pretrain.output={tmp_path}"]
    done = subprocess.run([*command, "--config.pretrain.heldout=3"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heldout_lua.jsonl", "validation_lua.jsonl"]
    assert len((tmp_path / "heldout_lua.jsonl").read_text().splitlines()) == 3
