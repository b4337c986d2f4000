"""`python -m azr_jax.pretrain` as a whole, at a size of seconds."""

import json
import subprocess
import sys
from pathlib import Path

import jax

from azr_jax.evaluation.scoring import heldout
from azr_jax.model import weights
from azr_jax.model.sharding import make_mesh
from azr_jax.model.tokenizer import load_tokenizer

SIZES = {
    **{"languages": "python", "programs": 60, "transcripts": 400, "heldout": 6, "vocab_size": 600, "layers": 2},
    **{"embed_dim": 32, "ffn_dim": 64, "heads": 2, "copying_steps": 2},
}


def pretrain(output: Path, **changes: object) -> subprocess.CompletedProcess[str]:
    sizes = {**SIZES, "output": output, **changes}
    command = [sys.executable, "-m", "azr_jax.pretrain"]
    command += [f"--config.pretrain.{key}={value}" for key, value in sizes.items()]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_makes_a_model_its_problems_and_a_record(tmp_path):
    done = pretrain(tmp_path)
    assert done.returncode == 0, done.stderr
    names = ["azr-tiny", "heldout_python.jsonl", "pretrain.json", "validation_python.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    record = json.loads((tmp_path / "pretrain.json").read_text())
    assert {key: record["settings"][key] for key in SIZES if isinstance(SIZES[key], int) and key != "programs"} == {
        key: value if key != "transcripts" else [value]
        for key, value in SIZES.items()
        if isinstance(value, int) and key != "programs"
    }
    assert 0 < record["training"]["final_loss"] < 6.4  # the logarithm of 600 tokens: nothing learned
    config, _ = weights.load(tmp_path / "azr-tiny", make_mesh(devices=jax.devices()[:1]))
    assert (config.vocab_size, config.layers, config.embed_dim) == (600, 2, 32)
    assert load_tokenizer(tmp_path / "azr-tiny", config).vocab_size == 600
    assert len(heldout.load(tmp_path / "heldout_python.jsonl")) == 6


def test_sizes_that_make_no_model_are_one_message(tmp_path):
    done = pretrain(tmp_path, layers=1)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: pretrain.heads=2, kv_heads=2, layers=1: copying heads need")
