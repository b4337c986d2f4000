"""`python tests/endurance.py [--steps=2000]`: a long run with a fake model, to see that nothing grows.

The loop, executors, buffers (at their cap), metrics, saves and report are the real ones; sampler and update are
stand-ins that cost nothing, so that 2,000 steps take minutes. Prints memory, open files, processes and step time of an
early and the last window of steps, and ends with 1 when one of them grew. Step time is the trainer's processor time,
which other work on the machine does not lengthen.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from azr_jax.config import Config, from_mapping
from azr_jax.learner.packing import Batch
from azr_jax.learner.state import TrainState
from azr_jax.main import train
from azr_jax.model.tokenizer import Tokenizer
from azr_jax.run.opened import open_run
from azr_jax.sampler.requests import Request, id_words
from azr_jax.sampler.session import SessionMetrics
from azr_jax.types import Rollout, StopReason
from azr_jax.workdir.metrics import METRICS_FILE

CAPACITY = 32
# What may grow from the early window to the last one: (metric, share, plus this much).
_LIMITS = (
    ("host/memory_mib", 0.03, 8.0),
    ("host/open_files", 0.0, 0.5),
    ("host/processes", 0.0, 0.5),
    ("time/cpu_s", 0.25, 0.005),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Growth:
    """Medians of one metric over the early and the last steps, and whether the difference is growth."""

    key: str
    early: float
    late: float
    grew: bool


def settings(steps: int, changes: Mapping[str, Any] | None = None) -> Config:
    """The smallest run of Python that uses every part; `changes` by key, such as {"executor.workers": 2}."""
    from configs import tiny

    config = tiny.get_config()
    config.update_from_flattened_dict(
        {
            "languages": ("python",),
            "steps": steps,
            "selfplay.seed_triplets": 4,
            "selfplay.seed_problems": 2,
            "selfplay.batch_per_task": 1,
            "selfplay.estimate_samples": 1,
            "selfplay.references": 1,
            "selfplay.buffer_capacity": CAPACITY,
            "executor.workers": 1,
            "executor.wall_s": 5.0,
            "executor.cpu_s": 5.0,
            "evaluation.heldout": "",
            "checkpoint.every": 50,
            "checkpoint.export_at_end": False,
            "metrics.transcripts_per_step": 6,
            **(changes or {}),
        }
    )
    return from_mapping(config.to_dict())


class FakeSampler:
    """Answers every request at once with a well-formed response that its id determines."""

    slots = 0

    def __init__(self, tokenizer: Tokenizer, induction_inputs: int) -> None:
        self._tokenizer, self._inputs = tokenizer, induction_inputs

    def session(self, params: Any, seed: int) -> FakeSession:
        """A session, as the real sampler's; the parameters and the seed change nothing."""
        return FakeSession(self._tokenizer, self._inputs)

    def state_must_leave(self, state: Any) -> bool:
        """There are no caches that a state would have to make room for."""
        return False


class FakeSession:
    """The part of a sampler's session that a player uses."""

    def __init__(self, tokenizer: Tokenizer, induction_inputs: int) -> None:
        self._tokenizer, self._inputs = tokenizer, induction_inputs
        self._waiting: list[Request] = []

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    @property
    def free(self) -> int:
        """Any number of requests has room."""
        return 1

    @property
    def sparse(self) -> bool:
        """There are no chunks to save."""
        return False

    @property
    def metrics(self) -> SessionMetrics:
        """Nothing was computed."""
        return SessionMetrics()

    def submit(self, request: Request) -> None:
        """Takes a request."""
        self._waiting.append(request)

    def step(self) -> list[Rollout]:
        """The responses to all that wait."""
        requests, self._waiting = self._waiting, []
        return [self._rollout(request) for request in requests]

    def close(self) -> None:
        """Frees nothing: there are no caches."""

    def _rollout(self, request: Request) -> Rollout:
        text = response(request.id, self._inputs)
        tokens = tuple(self._tokenizer.encode(text))[: request.max_tokens]
        return Rollout(request.id, request.prompt_ids, tokens, (-0.5,) * len(tokens), text, StopReason.EOS)


def response(request_id: str, induction_inputs: int) -> str:
    """A valid proposal that differs for each id, or a well-formed solution, often wrong."""
    number = id_words(request_id)[0]
    program = f"```python\ndef f(x):\n    return x + {number}\n```"
    values = (f"```input\n{number + offset}\n```" for offset in range(induction_inputs))
    if "/propose/induction/" in request_id and not request_id.endswith("/estimate"):
        blocks = "\n".join(("```message\nadds\n```", *values))
    else:
        blocks = f"{program}\n```input\n{number % 7}\n```\n```output\n{number % 7}\n```"
    return f"<think>so</think> <answer>\n{blocks}\n</answer>"


def fake_update(
    state: TrainState, *batches: Batch, denominators: Sequence[float]
) -> tuple[TrainState, dict[str, float]]:
    """The same state."""
    assert len(denominators) == len(batches)
    rows = sum(len(batch.tokens_RT) for batch in batches)
    return state, {"ppo/skipped_updates": 0.0, "ppo/loss": 0.0, "ppo/rows": float(rows)}


def play(workdir: str, config: Config) -> None:
    """The whole run in `workdir`, but for the model."""
    with open_run(config, workdir) as run:
        run.player.sampler = FakeSampler(run.engine.tokenizer, config.selfplay.induction_inputs)  # pyright: ignore[reportAttributeAccessIssue]
        run.learner.update = fake_update  # pyright: ignore[reportAttributeAccessIssue]
        train(run)


def growth(rows: Sequence[dict[str, Any]]) -> list[Growth]:
    """Each limited metric over the third tenth of the steps, buffers full by then, against the last tenth.

    Raises:
      ValueError: too few steps to tell, or buffers that are not full in the early window.
    """
    window = len(rows) // 10
    early, late = rows[2 * window : 3 * window], rows[-window:]
    if window < 5:
        raise ValueError(f"--steps={len(rows)}: too few to tell growth from noise; use at least 50")
    sizes = {key: early[0][key] for key in early[0] if key.startswith("buffer/") and key.endswith("_size")}
    if not sizes or min(sizes.values()) < CAPACITY:
        raise ValueError(f"--steps={len(rows)}: the buffers are not full after a fifth of them ({sizes}); use more")
    trends = []
    for key, share, more in _LIMITS:
        before, after = (statistics.median(row[key] for row in rows) for rows in (early, late))
        trends.append(Growth(key, before, after, after > before * (1 + share) + more))
    return trends


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, or 1 when something grew."""
    parser = argparse.ArgumentParser(prog="python tests/endurance.py", description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--workdir", default="", help="kept there; by default in a temporary folder")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        workdir = args.workdir or f"{temporary}/run"
        play(workdir, settings(args.steps))
        lines = (Path(workdir) / METRICS_FILE).read_text().splitlines()
    try:
        trends = growth([json.loads(line) for line in lines])
    except ValueError as error:
        logging.error("%s", error)
        return 1
    for trend in trends:
        verdict = "GREW" if trend.grew else "flat"
        sys.stdout.write(f"{trend.key:18} {trend.early:10.3f} {trend.late:10.3f}  {verdict}\n")
    return int(any(trend.grew for trend in trends))


if __name__ == "__main__":
    sys.exit(main())
