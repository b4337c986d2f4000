"""Run by test_smollm2.py with eight CPU devices: greedy texts of a model whose weights lie over all of them.

Arguments: the directory, a file of prompts (name to token ids, JSON), and the file that gets the texts by name.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import jax

from azr_jax.config import from_mapping
from azr_jax.engine import open_directory
from azr_jax.sampler.requests import Request
from configs import base


def main(directory: str, prompts: str, out: str) -> None:
    """Writes the texts."""
    assert len(jax.devices()) == 8
    engine = open_directory(directory, "float32")
    settings = dataclasses.replace(
        from_mapping(base.get_config().to_dict()).sampler,
        max_prompt_tokens=192,
        max_response_tokens=24,
        prefill_tokens=192,
        slots=8,
        chunk=8,
    )
    ids = json.loads(Path(prompts).read_text())
    requests = [Request(name, tuple(prompt), 24, 0.0) for name, prompt in ids.items()]
    rollouts = engine.sampler(settings).generate(engine.load_params(), requests, seed=0)
    Path(out).write_text(json.dumps({rollout.request_id: rollout.text for rollout in rollouts}))


if __name__ == "__main__":
    main(*sys.argv[1:])
