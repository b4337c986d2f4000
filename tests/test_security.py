"""What comes from outside is data: saves, buffers, models and data sets that were tampered with run no code.

The programs that a model writes are another matter: tests/executors/test_attacks.py.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import json
import os
import pickle
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import REPOSITORY, small_config

from azr_jax.checkpoint import Manager, open_workdir, read_config
from azr_jax.evaluation.languages.known import known_language
from azr_jax.evaluation.problems import files, records
from azr_jax.evaluation.scoring import heldout
from azr_jax.learner.state import TrainState
from azr_jax.model import weights
from azr_jax.model.tokenizer import load_tokenizer
from azr_jax.selfplay.buffers import Buffers
from azr_jax.types import Triplet
from executors import LANGUAGES

SOURCES = sorted(path for room in ("azr_jax", "configs", "executors") for path in (REPOSITORY / room).rglob("*.py"))
EMBEDDED = REPOSITORY / "azr_jax" / "embedded"
# Modules whose reading runs what the file says.
PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "torch", "pandas"}
# What a pickle, a module or a shell would be seen by; `import` is of Python files in the tampered folder alone.
RUNS_CODE = ("pickle.find_class", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn")


class _Audit:
    """Python's own record of what a block does; the hook stays, as hooks do, and sleeps."""

    def __init__(self) -> None:
        self.folder = ""
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple) -> None:
        if not self.folder:
            return
        if event in RUNS_CODE or (event == "exec" and self.folder in getattr(arguments[0], "co_filename", "")):
            self.seen.append(f"{event} {arguments}"[:200])


AUDIT = _Audit()


@contextlib.contextmanager
def no_code_runs(folder: Path) -> Iterator[None]:
    """Fails when the block unpickles, starts a program, runs a file of `folder`, or leaves the canary there."""
    AUDIT.folder, AUDIT.seen = str(folder), []
    try:
        yield
    finally:
        AUDIT.folder = ""
    assert AUDIT.seen == []
    assert not (folder / "canary").exists()


class Bomb:
    """An object whose unpickling touches a file."""

    def __init__(self, folder: Path) -> None:
        self._command = f"touch {folder / 'canary'}"

    def __reduce__(self):
        return os.system, (self._command,)


def bomb_code(folder: Path) -> str:
    """Python text that touches a file."""
    return f"import os\nos.system('touch {folder / 'canary'}')\n"


@pytest.mark.parametrize("bomb", ["pickle", "module", "shell"])
def test_the_alarm_works(tmp_path, bomb):
    with pytest.raises(AssertionError), no_code_runs(tmp_path):
        if bomb == "pickle":
            pickle.loads(pickle.dumps(Bomb(tmp_path)))
        elif bomb == "module":
            exec(compile("x = 1", str(tmp_path / "m.py"), "exec"))  # noqa: S102
        else:
            os.system("true")


def test_no_module_can_read_a_pickle():
    """No import of a module that does, no `allow_pickle`, no remote code, no YAML.

    The peer of the speed commands is written in torch: it has random weights, or reads those of safetensors files.
    """
    peer = REPOSITORY / "azr_jax" / "speed" / "peer.py"
    # Made from the GGUF file of a package, which is no pickle.
    converter = REPOSITORY / "azr_jax" / "model" / "smollm2.py"
    text = peer.read_text(encoding="utf-8")
    for path in (peer, converter):
        assert not {"load", "hub"} & set(re.findall(r"\w+", path.read_text(encoding="utf-8"))), path
    assert text.count("from_pretrained(") == text.count("use_safetensors=True") == 1
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").split(".")[0]}
            else:
                names = set()
            assert not names & (PICKLES - {"torch"} if path in (peer, converter) else PICKLES), (
                f"{path}: imports {names}"
            )
            if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "trust_remote_code"):
                assert isinstance(node.value, ast.Constant) and node.value.value is False, f"{path}: {node.arg}"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called = f"{node.value.id}.{node.attr}"
                assert called not in ("np.load", "numpy.load", "jnp.load", "yaml.load"), f"{path}: {called}"


# Saves.


def state() -> TrainState:
    """Small arrays in the place of every part of a state."""
    leaf = jax.device_put(jnp.ones((8, 8)), jax.devices()[0])
    return TrainState(**{field.name: {"x": leaf} for field in dataclasses.fields(TrainState)})


def restore(saves: Manager):
    saved = state()
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), saved)
    return saves.restore(shapes, jax.tree.map(lambda x: x.sharding, saved))


@pytest.fixture
def save(tmp_path):
    with Manager(tmp_path, keep=1) as saves:
        saves.save(1, state(), {"buffers": {}})
        saves.settle()
        yield saves


def test_a_whole_save_is_read_without_unpickling(save, tmp_path):
    with no_code_runs(tmp_path):
        step, back, _ = restore(save)
    assert step == 1
    assert np.asarray(jax.tree.leaves(back)[0]).sum() > 0


# Orbax leaves coroutines of the reads that fail.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")
def test_no_file_of_a_save_is_unpickled(save, tmp_path):
    """Each in turn becomes a pickle; reading ends in an error, or did not need the file."""
    bomb, errors = pickle.dumps(Bomb(tmp_path)), 0
    files = sorted(path for path in (tmp_path / "checkpoints" / "1").rglob("*") if path.is_file())
    for file in files:
        content = file.read_bytes()
        file.write_bytes(bomb)
        with no_code_runs(tmp_path):
            try:
                restore(save)
            except ValueError as error:
                errors += 1
                assert "this save is damaged" in str(error)
        file.write_bytes(content)
    assert errors >= 4


def test_no_class_that_a_save_names_is_imported(save, tmp_path, monkeypatch):
    """Its metadata name handlers and types; here they name a module that would be found."""
    (tmp_path / "evil.py").write_text(bomb_code(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    poisoned = 0
    for file in (tmp_path / "checkpoints" / "1").rglob("*METADATA*"):
        text = file.read_text()
        for name in ("StandardCheckpointHandler", "JsonCheckpointHandler", "jax.Array", "np.ndarray"):
            poisoned += name in text
            text = text.replace(name, "evil.Handler")
        file.write_text(text)
    folder = tmp_path / "checkpoints" / "1" / "params"
    for name in ("__init__.py", "sitecustomize.py", "conftest.py"):
        (folder / name).write_text(bomb_code(tmp_path))
    assert poisoned
    with no_code_runs(tmp_path), contextlib.suppress(ValueError):
        restore(save)
    assert "evil" not in sys.modules


def test_hostile_texts_in_the_buffers_stay_texts(save, tmp_path):
    bomb = f"__import__('os').system('touch {tmp_path / 'canary'}')"
    canonical = {"python": LANGUAGES["python"].canonical_program}
    buffers = Buffers.empty(8, canonical)
    buffers["python"].add_triplet(Triplet("python", f"def f(x):\n  return {bomb}", bomb, f"({bomb})"), new_for=())
    saved = json.loads(json.dumps(buffers.to_json()))
    with no_code_runs(tmp_path):
        back = Buffers.from_json(saved, canonical)
    assert back.to_json() == buffers.to_json()
    # What only a reader of objects would understand is refused as no entry.
    saved["python"]["triplets"][0]["entries"][0] = {"py/object": "os.system", "__reduce__": [bomb]}
    with no_code_runs(tmp_path), pytest.raises((TypeError, ValueError)):
        Buffers.from_json(saved, canonical)


def test_a_workdirs_settings_are_data(tmp_path):
    open_workdir(tmp_path, small_config(), allow_config_change=False)
    file = tmp_path / "config.json"
    for text in (bomb_code(tmp_path), pickle.dumps(Bomb(tmp_path)).decode("latin-1"), '{"selfplay": 1, "learner": 2}'):
        file.write_text(text)
        with no_code_runs(tmp_path), pytest.raises(ValueError):
            read_config(tmp_path)


# Models.


@pytest.fixture
def model(tmp_path):
    return Path(shutil.copytree(EMBEDDED / "azr-tiny", tmp_path / "model"))


def test_a_model_folder_with_code_and_pickles_runs_none(model, tmp_path):
    settings = json.loads((model / "config.json").read_text())
    settings |= {"auto_map": {"AutoModelForCausalLM": "evil.Model", "AutoTokenizer": "evil.Tokenizer"}}
    (model / "config.json").write_text(json.dumps(settings))
    for name in ("evil.py", "modeling_evil.py", "tokenization_evil.py", "__init__.py"):
        (model / name).write_text(bomb_code(tmp_path) + "class Model: ...\nclass Tokenizer: ...\n")
    names = json.loads((model / "tokenizer_config.json").read_text())
    names |= {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}, "tokenizer_class": "Tokenizer"}
    names |= {"chat_template": "{{ ''.__class__.__mro__[1].__subclasses__() }}"}
    (model / "tokenizer_config.json").write_text(json.dumps(names))
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (model / name).write_bytes(pickle.dumps(Bomb(tmp_path)))
    with no_code_runs(tmp_path):
        configuration, _ = weights.load(model, None)
        assert load_tokenizer(model, configuration).encode("f")


def test_pickled_weights_are_refused(model, tmp_path):
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with no_code_runs(tmp_path), pytest.raises((FileNotFoundError, ValueError), match="safetensors"):
        weights.load(model, None)
    (model / "model.safetensors").write_bytes(pickle.dumps(Bomb(tmp_path)))
    with no_code_runs(tmp_path), pytest.raises(ValueError, match="download"):
        weights.load(model, None)


@pytest.mark.slow
def test_an_old_tokenizer_with_remote_code_is_refused(model, tmp_path, monkeypatch):
    """The library converts formats without tokenizer.json; it must not ask for, or run, a folder's own code."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    (model / "tokenizer.json").unlink()
    (model / "vocab.json").write_text("{}")
    (model / "evil.py").write_text(bomb_code(tmp_path) + "class Tokenizer: ...\n")
    names = {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}, "tokenizer_class": "Tokenizer"}
    (model / "tokenizer_config.json").write_text(json.dumps(names))
    with no_code_runs(tmp_path), pytest.raises((ValueError, OSError)):
        load_tokenizer(model)


# Data sets.


def test_held_out_problems_are_data(tmp_path):
    bomb = f"__import__('os').system('touch {tmp_path / 'canary'}')"
    file = tmp_path / "heldout.jsonl"
    problem = {"type": "deduction", "language": "python", "program": bomb, "input": bomb, "output": bomb}
    file.write_text(json.dumps(problem) + "\n")
    with no_code_runs(tmp_path):
        ((_, item),) = heldout.load(file)
    assert isinstance(item, Triplet) and item.program == bomb
    for text in (bomb, json.dumps({**problem, "__class__": "os.system"}), '{"py/reduce": 1}'):
        file.write_text(text + "\n")
        with no_code_runs(tmp_path), pytest.raises(ValueError, match="line 1"):
            heldout.load(file)


def test_a_benchmark_folder_with_a_loading_script_or_a_pickle_runs_none(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    for name in ("MultiPL-E.py", "multipl_e.py", "dataset_infos.py", "__init__.py"):
        (data / name).write_text(bomb_code(tmp_path))
    (data / "humaneval-rkt.jsonl").write_bytes(pickle.dumps(Bomb(tmp_path)))
    with no_code_runs(tmp_path), pytest.raises(ValueError):
        files.load(files.locate("humaneval", known_language("rkt"), str(data)), "rkt")
    (data / "humaneval-rkt.jsonl").unlink()
    (data / "humaneval-rkt").mkdir()
    (data / "humaneval-rkt" / "test-0.parquet").write_bytes(pickle.dumps(Bomb(tmp_path)))
    with no_code_runs(tmp_path), pytest.raises((ValueError, OSError)):
        files.load(files.locate("humaneval", known_language("rkt"), str(data)), "rkt")


def test_a_problem_file_is_data(tmp_path):
    file = tmp_path / "problems.jsonl"
    for content in (pickle.dumps(Bomb(tmp_path)), bomb_code(tmp_path).encode(), b'{"py/object": "os.system"}\n'):
        file.write_bytes(content)
        with no_code_runs(tmp_path), pytest.raises(ValueError):
            records.load(file)
