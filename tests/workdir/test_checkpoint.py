"""Saves: exact round trips, damage and full disks, the workdir's settings, export."""

import contextlib
import dataclasses
import functools
import gc
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
import transformers
from conftest import REPOSITORY

from azr_jax.checkpoint import Manager, note_start, open_workdir, read_config
from azr_jax.checkpoint.__main__ import main
from azr_jax.config import Config, from_mapping
from azr_jax.learner.update import Learner, make_learner
from azr_jax.model import weights
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sharding import make_mesh
from azr_jax.model.transformer import abstract
from configs import base

MODEL = ModelConfig(
    vocab_size=48, embed_dim=16, ffn_dim=32, layers=2, heads=4, kv_heads=2, head_dim=4, eos_ids=(3,), max_positions=64
)
HOST = {"buffers": {"racket": {"entries": ["(λ (x) x)", "\ud800"], "n": 3}}, "seconds": 1.25, "before": {}}


def config(**changes) -> Config:
    mapping = base.get_config().to_dict()
    for key, value in changes.items():
        section = mapping
        *path, last = key.split("__")
        for part in path:
            section = section[part]
        section[last] = value
    return from_mapping(mapping)


@functools.cache
def learner_and_state(model: ModelConfig = MODEL, estimator: str = "gae") -> tuple[Learner, object]:
    """(learner on one device, a state in which every number is different)."""
    mesh = make_mesh(devices=jax.devices()[:1])
    graphdef, shapes = abstract(model, attention_kernel="xla")
    settings = dataclasses.replace(config().learner, estimator=estimator, kl_coef=0.1, row_tokens=32, logit_chunk=8)
    learner = make_learner(graphdef, shapes, settings, mesh)
    rng = np.random.default_rng(0)
    state = jax.tree.map(
        lambda x, sharding: jax.device_put(jnp.asarray(1e3 * rng.standard_normal(x.shape), x.dtype), sharding),
        learner.abstract_state,
        learner.shardings,
    )
    return learner, state


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert (a.dtype, a.shape, a.sharding) == (b.dtype, b.shape, b.sharding)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def restored(saves: Manager, step: int | None = None):
    learner, _ = learner_and_state()
    return saves.restore(learner.abstract_state, learner.shardings, step)


def changed(state, number: float):
    return state.replace(params=jax.tree.map(lambda x: x + number, state.params))


def test_a_state_comes_back_bit_for_bit(tmp_path):
    _, state = learner_and_state()
    with Manager(tmp_path, keep=2) as saves:
        assert restored(saves) is None
        saves.save(7, state, HOST)
    with Manager(tmp_path, keep=2) as saves:
        step, back, host = restored(saves)
    assert (step, host) == (7, HOST)
    assert_same(back, state)


def test_the_newest_are_kept_and_a_saved_step_stays(tmp_path):
    _, state = learner_and_state()
    with Manager(tmp_path, keep=2) as saves:
        for step in (0, 9, 10):
            saves.save(step, changed(state, step), {"at": step})
        saves.save(10, state, {"at": "again"})
    assert sorted(entry.name for entry in saves.directory.iterdir()) == ["10", "9"]
    with Manager(tmp_path, keep=2) as saves:
        assert saves.steps() == [9, 10]
        for wanted, expected in ((None, 10), (9, 9)):
            step, back, host = restored(saves, wanted)
            assert (step, host) == (expected, {"at": expected})
            assert_same(back, changed(state, expected))
        with pytest.raises(ValueError, match=r"step 3 is not saved .* choose one of 9, 10"):
            restored(saves, 3)


def test_every_kth_and_the_best_save_stay_over_restarts(tmp_path):
    _, state = learner_and_state()
    with Manager(tmp_path, keep=1, keep_every=4) as saves:
        for step, score in ((1, 0.9), (2, None), (4, 0.1), (5, 0.3)):
            saves.save(step, state, HOST, score)
        saves.settle()
        assert saves.steps() == [1, 4, 5]
    with Manager(tmp_path, keep=1, keep_every=4) as saves:
        saves.save(6, state, HOST)
        saves.settle()
        assert saves.steps() == [1, 4, 6]
        saves.save(7, state, HOST, 1.0)
        saves.settle()
        assert saves.steps() == [4, 7]
        saves.save(8, state, HOST)
        saves.settle()
        saves.save(8, state, HOST, 2.0)  # scored later: the step's evaluation was cut short
        saves.save(9, state, HOST)
        saves.settle()
        assert saves.steps() == [4, 8, 9]


@pytest.mark.parametrize(
    "damage", [pytest.param("cut", marks=pytest.mark.ci), pytest.param("deleted", marks=pytest.mark.slow)]
)
def test_damage_is_an_error_or_harmless_for_every_file(tmp_path, capfd, damage):
    _, state = learner_and_state()
    errors = 0
    with Manager(tmp_path, keep=2) as saves:
        saves.save(1, state, HOST)
        saves.save(2, changed(state, 2), HOST)
        saves.settle()
        for file in sorted(path for path in (tmp_path / "checkpoints" / "2").rglob("*") if path.is_file()):
            content = file.read_bytes()
            if damage == "cut":
                file.write_bytes(content[: len(content) // 2])
            else:
                file.unlink()
            try:
                step, back, host = restored(saves)
            except ValueError as error:
                errors += 1
                assert f"{saves.directory}/2: this save is damaged" in str(error)
                assert "delete it" in str(error) and "resumes from step 1" in str(error) and "\n" not in str(error)
            else:  # a file that only describes the save: what it holds must be whole all the same
                assert (step, host) == (2, HOST)
                assert_same(back, changed(state, 2))
            file.write_bytes(content)
        assert errors >= 6
        shutil.rmtree(saves.directory / "2")
        assert restored(saves)[0] == 1
    gc.collect()
    said = capfd.readouterr().err
    assert "Event loop is closed" not in said and "never retrieved" not in said and "Traceback" not in said


def test_an_empty_step_directory_is_damage(tmp_path):
    with Manager(tmp_path, keep=2) as saves:
        (tmp_path / "checkpoints" / "4").mkdir(parents=True)
        with pytest.raises(ValueError, match=r"checkpoints/4: this save is damaged .* begins anew"):
            restored(saves)


@contextlib.contextmanager
def file_size_limit(limit: int):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def check_failed_save(saves: Manager, state) -> None:
    with pytest.raises(RuntimeError, match=r"checkpoints/2: the save failed .*free space .*saved steps: 1\)"):
        saves.save(2, changed(state, 2), HOST)
        saves.settle()
    # A thread of the failed save may write a moment longer: what it leaves is no save, and the next one removes it.
    assert saves.steps() == [1]
    assert_same(restored(saves)[1], state)
    gc.collect()  # Orbax' coroutines, in the midst of a parse by pytest, break Python 3.11's parser


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")
def test_a_save_that_fails_leaves_the_earlier_ones(tmp_path):
    _, state = learner_and_state()
    with Manager(tmp_path, keep=1) as saves:
        saves.save(1, state, HOST)
        saves.settle()
        with file_size_limit(4096):
            check_failed_save(saves, state)
        saves.save(2, changed(state, 2), HOST)
    assert [entry.name for entry in saves.directory.iterdir()] == ["2"]


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_disk_that_takes_no_more(tmp_path, kind):
    _, state = learner_and_state()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system of a few kilobytes can't be mounted here")
    try:
        with Manager(tmp_path, keep=1) as saves:
            saves.save(1, state, HOST)
            saves.settle()
            if kind == "full":
                free = shutil.disk_usage(tmp_path).free
                (tmp_path / "ballast").write_bytes(bytes(free - 8192))
            else:
                subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
            check_failed_save(saves, state)
            # Orbax' threads would keep the process for minutes if they waited for the folder of the save.
            end = time.monotonic() + 10
            while {"json_ch_save", "write_metadata_after_commits"} & {thread.name for thread in threading.enumerate()}:
                assert time.monotonic() < end
                time.sleep(0.05)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_what_a_killed_save_left_is_never_picked_up(tmp_path):
    _, state = learner_and_state()
    with Manager(tmp_path, keep=3) as saves:
        saves.save(1, state, HOST)
        saves.settle()
        shutil.copytree(saves.directory / "1", saves.directory / "2.orbax-checkpoint-tmp")
        shutil.copytree(saves.directory / "1", saves.directory / "0.deleted")
        assert saves.steps() == [1]
        assert restored(saves)[0] == 1
        saves.save(3, state, HOST)
    assert sorted(entry.name for entry in saves.directory.iterdir()) == ["1", "3"]


class HeldSaves(Manager):
    """Saves that are written but get their name only when `go` is set."""

    def __init__(self, *arguments) -> None:
        self.go = threading.Event()
        super().__init__(*arguments)

    def _note_written(self) -> None:
        assert self.go.wait(60)
        super()._note_written()


def test_an_update_goes_on_beside_a_save_and_does_not_change_it(tmp_path):
    _, state = learner_and_state()
    in_place = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    trained = jax.tree.map(jnp.copy, state)
    with HeldSaves(tmp_path, 2) as saves:
        saves.save(1, trained, HOST)
        for _ in range(3):
            trained = in_place(trained)
        assert float(jnp.max(jnp.abs(trained.value_head["kernel_D"] - state.value_head["kernel_D"]))) > 2
        assert saves.steps() == [] and saves.poll() is None
        saves.go.set()
        while (seconds := saves.poll()) is None:
            time.sleep(0.01)
        assert seconds > 0 and saves.settle() is None
        step, back, _ = restored(saves)
    assert step == 1
    assert_same(back, state)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")
def test_a_save_that_fails_beside_training_is_told_at_the_next_look(tmp_path):
    _, state = learner_and_state()
    with HeldSaves(tmp_path, 1) as saves:
        saves.go.set()
        with file_size_limit(4096):
            saves.save(2, state, HOST)
            with pytest.raises(RuntimeError, match=r"checkpoints/2: the save failed .*saved steps: none\)"):
                while saves.poll() is None:
                    time.sleep(0.01)
        assert saves.settle() is None and saves.steps() == []
    gc.collect()


def test_a_disk_too_small_for_the_saves_is_told_at_the_start(tmp_path, monkeypatch, caplog):
    learner, state = learner_and_state()
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    usage = shutil.disk_usage(tmp_path)

    def free(amount: float) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=int(amount)))

    with Manager(tmp_path, keep=2) as saves:
        free(3.1 * state_bytes)
        saves.check_space(learner.abstract_state)
        assert "lower checkpoint.keep" not in caplog.text
        free(2.9 * state_bytes)
        saves.check_space(learner.abstract_state)
        assert "lower checkpoint.keep" in caplog.text
        free(0.9 * state_bytes)
        with pytest.raises(OSError, match=r"checkpoints: 0\.00 GiB are free; a save takes"):
            saves.check_space(learner.abstract_state)
        saves.save(1, state, HOST)
        saves.settle()
        saves.check_space(learner.abstract_state)


def test_what_a_killed_save_left_counts_as_free(tmp_path, monkeypatch):
    """Or a run killed amid its first save would not start again on a disk that holds one save and a half."""
    learner, state = learner_and_state()
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=int(0.7 * state_bytes)))
    half = tmp_path / "checkpoints" / "0.orbax-checkpoint-tmp" / "params"
    half.mkdir(parents=True)
    with Manager(tmp_path, keep=1) as saves:
        with pytest.raises(OSError, match="are free; a save takes"):
            saves.check_space(learner.abstract_state)
        (half / "d").write_bytes(bytes(int(0.4 * state_bytes)))
        saves.check_space(learner.abstract_state)


def test_the_counters_of_a_save_are_renewed_in_one_move(tmp_path):
    _, state = learner_and_state()
    with Manager(tmp_path, keep=2) as saves:
        saves.renew(0, HOST)
        assert saves.steps() == []
        saves.save(0, state, {"seeds": 3})
        saves.renew(0, HOST)
    with Manager(tmp_path, keep=2) as saves:
        step, back, host = restored(saves)
        assert (step, host) == (0, HOST)
        assert_same(back, state)
        shutil.rmtree(saves.directory / "0" / "host")
        with pytest.raises(RuntimeError, match=r"checkpoints/0: the save failed"):
            saves.renew(0, HOST)


def test_a_save_of_another_model_or_estimator(tmp_path):
    _, state = learner_and_state()
    with Manager(tmp_path, keep=1) as saves:
        saves.save(5, state, HOST)
        larger, _ = learner_and_state(dataclasses.replace(MODEL, vocab_size=64))
        with pytest.raises(ValueError, match=r"checkpoints/5: made with another model.*embed_VD.*\(48, 16\)"):
            saves.restore(larger.abstract_state, larger.shardings)
        critic_free, _ = learner_and_state(estimator="grpo")
        with pytest.raises(ValueError, match=r"learner\.estimator.*value_head"):
            saves.restore(critic_free.abstract_state, critic_free.shardings)


def test_a_save_keeps_the_settings_that_made_it(tmp_path):
    earlier, later = config(), config(seed=1, model__path="elsewhere")
    open_workdir(tmp_path, earlier, allow_config_change=False)
    _, state = learner_and_state()
    for step, settings in ((3, earlier), (4, later)):
        with Manager(tmp_path, keep=2, settings=json.loads(settings.to_json())) as saves:
            saves.save(step, state, HOST)
            saves.settle()
            saves.renew(step, HOST)
    note_start(tmp_path, later)
    assert [read_config(tmp_path, step) for step in (3, 4, None)] == [earlier, later, later]


def model_directory(path) -> str:
    """A Hugging Face directory of a model like MODEL, for its config.json and tokenizer."""
    vocabulary = {f"t{number}": number for number in range(MODEL.vocab_size)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="t0"))
    source = path.with_name("tokenizer")
    source.mkdir()
    tokenizer.save(str(source / "tokenizer.json"))
    weights.save(path, MODEL, weights.init(MODEL, seed=1), source)
    return str(path)


@pytest.mark.slow
def test_any_save_exports_to_hugging_face(tmp_path):
    workdir, out = tmp_path / "run", tmp_path / "export"
    open_workdir(workdir, config(model__path=model_directory(tmp_path / "model")), allow_config_change=False)
    learner, state = learner_and_state()
    state = state.replace(params=jax.tree.map(lambda x: x / 1e3, state.params))
    with Manager(workdir, keep=2) as saves:
        saves.save(3, state, HOST)
        saves.save(4, changed(state, 1), HOST)
    assert main(["export", f"--workdir={workdir}", "--step=3", f"--out={out}"]) == 0
    _, loaded = weights.load(out, learner.mesh)
    assert [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(loaded)] == [
        np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state.params)
    ]
    torch_model = transformers.AutoModelForCausalLM.from_pretrained(out)
    embedding = torch_model.get_input_embeddings().weight.detach().numpy()
    assert np.array_equal(embedding, np.asarray(state.params["embed_VD"].get_value()))
    assert main(["export", f"--workdir={workdir}", "--step=5", f"--out={out}"]) == 1
    assert main(["export", f"--workdir={tmp_path}", f"--out={out}"]) == 1


def test_an_export_of_a_bucket_that_cannot_be_read_is_one_message(monkeypatch, tmp_path, capsys):
    def refused(*_):
        raise LookupError("no credentials were found")

    monkeypatch.setattr("azr_jax.checkpoint.export.chosen_step", refused)
    assert main(["export", "--workdir=gs://bucket/run", f"--out={tmp_path / 'out'}"]) == 1
    assert "error: gs://bucket/run: can't be read (LookupError: no credentials were found)" in capsys.readouterr().err


def test_an_export_replaces_that_of_its_own_step_alone_and_says_one_line(tmp_path, capsys):
    workdir, out, model = tmp_path / "run", tmp_path / "export", model_directory(tmp_path / "model")
    open_workdir(workdir, config(model__path=model), allow_config_change=False)
    _, state = learner_and_state()
    with Manager(workdir, keep=2) as saves:
        saves.save(3, state, HOST)
        saves.save(4, changed(state, 1), HOST)

    def export(*more: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(["export", f"--workdir={workdir}", *more])
        return code, "".join(capsys.readouterr())

    def process(*more: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "azr_jax.checkpoint", "export", f"--workdir={workdir}", *more]
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    written = f"exported step {{}} of {workdir} to {out}\n"
    assert process(f"--out={out}") == (0, written.format(4))
    content = (out / "model.safetensors").read_bytes()
    assert export("--step=4", f"--out={out}") == (0, written.format(4))
    for place, words in ((out, "holds an export of step 4 of run"), (model, "holds an export of another model")):
        code, text = export("--step=3", f"--out={place}")
        assert code == 1 and text.startswith(f"error: --out={place}: {words}") and text.count("\n") == 1
    assert (out / "model.safetensors").read_bytes() == content
    assert export("--step=3", f"--out={out}", "--overwrite") == (0, written.format(3))
    assert (out / "model.safetensors").read_bytes() != content
    code, text = export(f"--out={out}", "--model=weights/gone")
    assert code == 1 and text.startswith("error: model.path='weights/gone': no such directory")
    damaged = max((workdir / "checkpoints" / "4" / "params").rglob("*"), key=lambda path: path.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    code, text = process(f"--out={out}", "--overwrite")
    assert code == 1 and "this save is damaged" in text and text.count("\n") == 1
