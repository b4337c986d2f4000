"""What SmolLM2-135M-Instruct really writes goes the whole way: a step of self-play and a benchmark."""

from __future__ import annotations

import gzip
import json
import math
import subprocess
import sys

import pytest
from conftest import REPOSITORY, smollm2_environment

from azr_jax.selfplay.parsing import REASONS
from executors import LANGUAGES, Status

pytestmark = pytest.mark.ci
STATUSES = {"OK", "Exception", "SyntaxError", "Timeout", "NoAnswer"}
DATA = REPOSITORY.parent / "shared" / "data"
# What may become of a response: a reason of the parser, a verdict, or one of the loop's own words.
OUTCOMES = {*REASONS, *(str(status) for status in Status), "valid", "correct", "wrong", "duplicate", "repeated_inputs"}


@pytest.mark.parametrize(("language", "devices"), [("racket", 1), ("python", 1), ("python", 8)])
def test_a_step_of_self_play_with_what_it_really_writes(smollm2_directory, tmp_path, language, devices):
    if LANGUAGES[language].find() is None:
        pytest.skip(f"no {language} interpreter here")
    workdir = tmp_path / "run"
    settings = {
        "model.path": smollm2_directory,
        "languages": language,
        "steps": 1,
        "selfplay.seed_triplets": 1,
        "selfplay.seed_problems": 0,
        "selfplay.batch_per_task": 2,
        "selfplay.estimate_samples": 1,
        "selfplay.worked_examples": f"azr_jax/embedded/validation_{language}.jsonl",
        "selfplay.references": 1,
        "sampler.slots": 8,
        "sampler.max_prompt_tokens": 256,
        "sampler.max_response_tokens": 48,
        "sampler.prefill_tokens": 256,
        "learner.rows_per_microbatch": 0,
        "learner.row_tokens": 304,
        "learner.logit_chunk": 152,
        "model.remat": "full",
        # Each device serves a copy of the weights: eight in float32 take 2 GiB more.
        "model.compute_dtype": "float32" if devices == 1 else "bfloat16",
        "evaluation.heldout": "",
        "checkpoint.export_at_end": False,
    }
    command = [sys.executable, "-m", "azr_jax.main", "--config=configs/smollm2.py", f"--workdir={workdir}"]
    command += [f"--config.{key}={value}" for key, value in settings.items()]
    done = subprocess.run(
        command, env=smollm2_environment(devices), cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert f"{devices} x cpu" in done.stdout
    (row,) = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    assert all(value is None or math.isfinite(value) for value in row.values()), row
    transcripts = [json.loads(line) for line in (workdir / "transcripts.jsonl").read_text().splitlines()]
    assert len(transcripts) >= 8 and all(entry["response"] for entry in transcripts)
    outcomes = {entry["outcome"] for entry in transcripts}
    assert outcomes <= OUTCOMES and outcomes - {"valid", "correct"}, outcomes


def test_twenty_problems_are_asked_in_its_chat_template_and_judged(smollm2_directory, tmp_path):
    if not DATA.is_dir() or LANGUAGES["racket"].find() is None:
        pytest.skip("no benchmark data (../shared/data), or no racket interpreter here")
    command = [sys.executable, "-m", "azr_jax.evaluation", f"--model={smollm2_directory}", f"--out={tmp_path / 'out'}"]
    command += ["--language=racket", "--benchmark=humaneval", f"--data_dir={DATA}", "--prompt=instruct"]
    command += ["--limit=20", "--max_tokens=64", "--compute_dtype=float32", "--slots=8"]
    done = subprocess.run(
        command, env=smollm2_environment(1), cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = [json.loads(gzip.decompress(path.read_bytes())) for path in (tmp_path / "out").glob("*.results.json.gz")]
    assert len(results) == 20
    assert {result["results"][0]["status"] for result in results} <= STATUSES
    assert all(result["results"][0]["response"] for result in results)
