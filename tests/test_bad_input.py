"""What goes wrong at a person's place: one clear error that names the thing and the fix, and earlier saves stay."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import types

import pytest
import safetensors.numpy
import tokenizers
from absl import flags
from conftest import REPOSITORY, SMALL, small_config

from azr_jax import main
from azr_jax.run import ending, opened
from azr_jax.run.opened import open_run
from azr_jax.run.restoring import restore
from executors import LANGUAGES

EMBEDDED = REPOSITORY / "azr_jax" / "embedded" / "azr-tiny"


def error_of(capsys, workdir, *arguments: str, config: str = "configs/tiny.py", **changes) -> str:
    """The message that `python -m azr_jax.main` ends with, run in this process; it must be one and no traceback."""
    settings = SMALL | {key.replace("__", "."): value for key, value in changes.items()}
    argv = ["main", f"--config={config}", f"--workdir={workdir}", *arguments]
    argv += [f"--config.{key}={value}" for key, value in settings.items()]
    flags.FLAGS.unparse_flags()
    for override in [name for name in flags.FLAGS if name.startswith("config.")]:
        delattr(flags.FLAGS, override)
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", argv)  # where ml_collections looks for the overrides
        main.main(main._parse_flags(argv))
    message = ended.value.code
    assert isinstance(message, str), f"exit status {message}"  # Python prints a text status and exits with 1
    assert message.startswith("error: ")
    assert "Traceback" not in message + capsys.readouterr().err
    return message


@pytest.fixture
def model(tmp_path):
    """A copy of the embedded model that a test may damage."""
    return shutil.copytree(EMBEDDED, tmp_path / "model")


@pytest.fixture(scope="module")
def saved_run(tmp_path_factory):
    """A workdir with the saves of steps 0 and 1."""
    workdir = tmp_path_factory.mktemp("saved") / "run"
    with open_run(small_config(), str(workdir)) as run:
        state, session = restore(run)
        assert session.scores_before is None
        for step in (0, 1):
            run.save(state, dataclasses.replace(session, step=step, scores_before={}))
    return workdir


def newest(workdir) -> int:
    """The step that a start of the run would go on from."""
    with open_run(small_config(), str(workdir)) as run:
        return restore(run)[1].step


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("--config.learner.learning_rate=1e-5", ("learner.learning_rate", "configs/base.py")),
        ("--config.stepz=3", ("config.stepz (did you mean steps?)", "configs/base.py")),
        ("--config.steps=three", ("steps", "three")),
        ("--workdri=x", ("workdri", "--help")),
    ],
)
def test_an_unknown_key_or_a_wrong_value_as_the_real_command(argument, named):
    command = [sys.executable, "-m", "azr_jax.main", "--config=configs/tiny.py", argument]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False, timeout=60)
    assert done.returncode == 1
    assert all(word in done.stderr for word in named), done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("module", ["pretrain", "study.estimation"])
def test_an_unknown_key_where_the_configuration_has_a_default(module):
    command = [sys.executable, "-m", f"azr_jax.{module}", "--config.stepz=3"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: unknown config key config.stepz"), done.stderr


def test_a_config_file_that_is_not_there(capsys, tmp_path):
    message = error_of(capsys, tmp_path / "run", config="configs/tinny.py")
    assert message == "error: --config: no such file: configs/tinny.py; did you mean tiny?"
    message = error_of(capsys, tmp_path / "run", config="nothing-like-it")
    assert "no such file: nothing-like-it; name a configuration file, or one of " in message and "julia" in message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("def get_config(:\n", "line 1"),
        ("from configs import tiny\n\n\ndef get_config():\n    return tiny.get_settings()\n", "get_settings"),
        (
            "from configs import tiny\n\n\ndef get_config():\n    config = tiny.get_config()\n"
            "    config.learner.minibatches = 3\n    return config\n",
            "mine.py, line 6: Could not override field 'minibatches'",
        ),
        ("steps = int('many')\n", "mine.py, line 1: invalid literal for int"),
    ],
)
def test_a_config_file_with_an_error_of_its_own(capsys, tmp_path, text, named):
    (tmp_path / "mine.py").write_text(text)
    message = error_of(capsys, tmp_path / "run", config=str(tmp_path / "mine.py"))
    assert message.startswith("error: --config: ") and named in message and "fix the file" in message
    assert "Traceback" not in message and "\n" not in message


def test_an_impossible_combination(capsys, tmp_path):
    message = error_of(capsys, tmp_path / "run", learner__row_tokens=64)
    assert "learner.row_tokens=64: must be at least" in message
    assert not (tmp_path / "run").exists()


def test_a_missing_interpreter(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    message = error_of(capsys, tmp_path / "run", languages=("racket",))
    assert "no racket interpreter found" in message
    assert "install" in message
    message = error_of(capsys, tmp_path / "run", languages=("cobol",))
    assert f"'cobol' is unknown; use one of {', '.join(sorted(LANGUAGES))}" in message


def test_a_missing_sandbox(capsys, tmp_path, monkeypatch):
    """Without bubblewrap the run stops and says so, rather than go on with less."""
    from executors.sandbox import probe

    for name in ("python3", "racket"):
        if shutil.which(name):
            (tmp_path / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(tmp_path))
    probe.probe.cache_clear()
    try:
        message = error_of(capsys, tmp_path / "run")
    finally:
        probe.probe.cache_clear()
    assert "Install bubblewrap" in message
    assert "allow_tier" in message


def test_no_weights_at_the_model_path(capsys, tmp_path):
    path = tmp_path / "weights" / "Qwen2.5-Coder-3B"
    message = error_of(capsys, tmp_path / "run", model__path=path)
    assert str(path) in message
    assert "hf download Qwen/Qwen2.5-Coder-3B --local-dir" in message
    # The path mended, the same workdir serves.
    with open_run(small_config(), str(tmp_path / "run")) as run:
        assert restore(run)[1].scores_before is None


def test_a_chat_template_that_is_not_there_or_refuses_the_role(capsys, tmp_path, model):
    for template, words in ((None, "has no chat template"), ("{{ raise_exception('no users') }}", "no users")):
        if template:
            (model / "chat_template.jinja").write_text(template)
        for changes in ({"model__chat_template": "model"}, {"evaluation__benchmark_prompt": "instruct"}):
            changes |= {"evaluation__benchmarks": "humaneval"} if "model__chat_template" not in changes else {}
            message = error_of(capsys, tmp_path / "run", model__path=model, **changes)
            assert words in message and "instruct" in message, message


def test_a_format_that_does_not_exist(capsys, tmp_path):
    assert "selfplay.format='loose': use one of azr, strict" in error_of(
        capsys, tmp_path / "r", selfplay__format="loose"
    )


def test_worked_examples_that_are_not_of_the_run(capsys, tmp_path):
    message = error_of(capsys, tmp_path / "run", selfplay__worked_examples="heldout_julia.jsonl")
    assert "selfplay.worked_examples='heldout_julia.jsonl': has no deduction problem in python" in message


def test_a_corrupt_or_truncated_safetensors_file(capsys, tmp_path, model):
    file = model / "model.safetensors"
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:5], b"", b"\xff" * 64 + whole[64:], b"<html>404</html>" * 99):
        file.write_bytes(content)
        message = error_of(capsys, tmp_path / "run", model__path=model)
        assert str(file) in message
        assert "download" in message
    tensors = safetensors.numpy.load(whole)
    dropped = next(name for name in tensors if "layers.1" in name)
    safetensors.numpy.save_file({name: tensor for name, tensor in tensors.items() if name != dropped}, file)
    assert dropped in error_of(capsys, tmp_path / "run", model__path=model)


def test_a_tokenizer_of_another_model(capsys, tmp_path, model):
    large = {f"t{number}": number for number in range(100_000)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({**large, "<|endoftext|>": 100_000}, unk_token="t0"))
    tokenizer.save(str(model / "tokenizer.json"))
    message = error_of(capsys, tmp_path / "run", model__path=model)
    assert str(model) in message
    assert "100001" in message
    assert "tokenizer" in message


def test_a_workdir_of_another_run_or_of_something_else(capsys, tmp_path, saved_run):
    message = error_of(capsys, saved_run, seed=7, learner__lr=0.5)
    assert "seed: 0 -> 7" in message
    assert "learner.lr: " in message
    assert "--allow_config_change" in message
    (tmp_path / "thesis.tex").write_text("precious")
    message = error_of(capsys, tmp_path)
    assert "thesis.tex" in message
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert newest(saved_run) == 1


def test_fewer_steps_than_are_saved_already(capsys, saved_run):
    """Its summary would give the later weights' score and export as those of fewer steps."""
    message = error_of(capsys, saved_run, steps=0)
    assert f"steps=0: {saved_run} has a save of step 1 already; set steps to at least that" in message
    assert newest(saved_run) == 1


def test_a_prompt_limit_that_no_proposer_can_keep(capsys, tmp_path):
    message = error_of(capsys, tmp_path / "run", sampler__max_prompt_tokens=16, evaluation__heldout="")
    assert "sampler.max_prompt_tokens=16: the shortest prompt of the induction proposer in python is longer" in message


def test_a_checkpoint_cut_off_half_way(capsys, tmp_path, saved_run):
    workdir = shutil.copytree(saved_run, tmp_path / "run")
    file = max((workdir / "checkpoints" / "1").rglob("*"), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    message = error_of(capsys, workdir)
    assert f"{workdir}/checkpoints/1: this save is damaged" in message
    assert f"rm -r {workdir}/checkpoints/1" in message
    shutil.rmtree(workdir / "checkpoints" / "1")
    assert newest(workdir) == 0
    # What a killed process leaves of a save that it did not end is no save.
    shutil.copytree(workdir / "checkpoints" / "0", workdir / "checkpoints" / "3.orbax-checkpoint-tmp")
    assert newest(workdir) == 0


def test_a_save_whose_counters_are_not_those_of_a_run(capsys, tmp_path, saved_run):
    workdir = shutil.copytree(saved_run, tmp_path / "run")
    file = workdir / "checkpoints" / "1" / "host" / "metadata"
    content = json.loads(file.read_text())
    del content["host"]["seconds"]
    file.write_text(json.dumps(content))
    message = error_of(capsys, workdir)
    assert f"{workdir}/checkpoints/1: its host item is not what this version of azr_jax saves" in message
    assert "'seconds'" in message


@pytest.mark.parametrize("damage", ['{"steps": 4', "[]", '"steps"', "{}"])
def test_a_damaged_summary_is_made_again(tmp_path, caplog, damage):
    run = types.SimpleNamespace(workdir=tmp_path, config=types.SimpleNamespace(steps=4))
    (tmp_path / "report.html").write_text("<html>")
    assert not ending._has_ended(run) and not caplog.text
    (tmp_path / "summary.json").write_text(damage)
    assert not ending._has_ended(run)
    assert f"{tmp_path}/summary.json: damaged" in caplog.text
    (tmp_path / "summary.json").write_text('{"steps": 4}')
    assert ending._has_ended(run)


def test_a_damaged_metrics_file(capsys, tmp_path, saved_run):
    workdir = shutil.copytree(saved_run, tmp_path / "run")
    (workdir / "metrics.jsonl").write_text('{"step": 1}\nnot json\n{"step": 2}\n')
    message = error_of(capsys, workdir)
    assert "metrics.jsonl, line 2" in message


def test_held_out_problems_that_are_not_there(capsys, tmp_path):
    message = error_of(capsys, tmp_path / "run", evaluation__heldout="nowhere.jsonl")
    assert "evaluation.heldout='nowhere.jsonl': no such file" in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"evaluation__heldout": "azr_jax/embedded/heldout_racket.jsonl"}, ("has problems in racket", "languages=")),
        ({"checkpoint__best_metric": "solve_accuracy"}, ("checkpoint.best_metric='solve_accuracy'", "docs/metrics.md")),
        (
            {"evaluation__benchmarks": "humaneval,humanevall"},
            ("evaluation.benchmarks=", "'humanevall' is unknown", "use some of humaneval, mbpp"),
        ),
        (
            {"checkpoint__best_metric": "eval/heldout/greedy/all/accuracy"},
            ("checkpoint.best_metric=", "evaluation.every=0"),
        ),
        (
            {"checkpoint__best_metric": "eval/humaneval/python/pass_at_1", "evaluation__every": 1},
            ("checkpoint.best_metric=", "not scored"),
        ),
    ],
)
def test_what_cannot_be_scored_is_found_at_the_start(capsys, tmp_path, changes, words):
    message = error_of(capsys, tmp_path / "run", **changes)
    assert all(word in message for word in words)
    assert not (tmp_path / "run" / "checkpoints").exists()


@contextlib.contextmanager
def full_disk(tmp_path, saved_run):
    """A copy of the run on a file system of its own that has no room left."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(path.stat().st_size for path in saved_run.rglob("*") if path.is_file())
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size + 3_000_000}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can't be mounted here")
    try:
        workdir = shutil.copytree(saved_run, disk / "run")
        (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - 100_000))
        yield workdir
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_at_the_export(capsys, tmp_path, saved_run):
    with full_disk(tmp_path, saved_run) as workdir:
        message = error_of(capsys, workdir, steps=1)
        assert f"{workdir}" in message and "can't be written" in message
        assert "free space" in message
        assert not (workdir / "summary.json").exists()
        assert not (workdir / ".export.partial").exists()
        assert newest(workdir) == 1


@pytest.mark.slow
def test_a_full_disk_at_a_save(capsys, tmp_path, saved_run):
    with full_disk(tmp_path, saved_run) as workdir:
        message = error_of(capsys, workdir, steps=2)
        assert f"{workdir}/checkpoints/2: the save failed" in message
        assert "free space" in message
        assert newest(workdir) == 1


def test_settings_are_written_before_anything_can_fail(tmp_path):
    with open_run(small_config(), str(tmp_path / "run")):
        assert json.loads((tmp_path / "run" / "config.json").read_text())["languages"] == ["python"]


def test_a_gpu_s_share_is_set_before_a_run_is_opened(monkeypatch, capsys, tmp_path):
    """When jax first meets its devices it reads the share, and that is where the weights are loaded."""

    def raised(*_):
        raise ValueError(os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"])

    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "unset")
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION")
    monkeypatch.setattr(opened, "open_run", raised)
    assert error_of(capsys, tmp_path) == "error: 0.95"


def test_a_gpu_s_share_that_the_user_set_by_its_newer_name_stays_alone(monkeypatch, capsys, tmp_path):
    """Both names together are an error of jax when it meets the GPU."""

    def raised(*_):
        raise ValueError(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "alone"))

    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "unset")
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION")
    monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "0.5")
    monkeypatch.setattr(opened, "open_run", raised)
    assert error_of(capsys, tmp_path) == "error: alone"
