"""The state of a run besides the model's: what every stage takes and returns, and most of a save's JSON part."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from azr_jax.loop.begun import Begun
from azr_jax.loop.record import StepRecord
from azr_jax.selfplay.buffers import Buffers
from azr_jax.selfplay.rewards import RewardState


@dataclasses.dataclass(frozen=True, slots=True)
class SessionState:
    """All that the next step depends on besides the TrainState. checkpoint/saves.py lists what a save holds.

    Attributes:
      step: the last step whose update is done; 0 while the buffers are seeded.
      buffers: as they are after that step; never changed in place.
      rewards: the running means that rewards depend on.
      seeding_rounds: how many there were.
      scores_before: the starting model's scores; None until it is scored.
      seconds: wall time of the earlier starts of this run.
      unfinished: the record of `step`, until the step is evaluated and its record written.
      problems: the digest of the problems that steps draw from (`problems.path`); empty for none.
      begun: what is sampled of the next step (`pipeline.lag`).
    """

    step: int
    buffers: Buffers
    rewards: RewardState = dataclasses.field(default_factory=RewardState)
    seeding_rounds: int = 0
    scores_before: Mapping[str, Any] | None = None
    seconds: float = 0.0
    unfinished: StepRecord | None = None
    problems: str = ""
    begun: Begun = dataclasses.field(default_factory=Begun)

    def with_scores(self, scores_before: Mapping[str, Any]) -> SessionState:
        """After the starting model is scored."""
        return dataclasses.replace(self, scores_before=scores_before)

    def seeded(self, buffers: Buffers) -> SessionState:
        """After a seeding round."""
        return dataclasses.replace(self, buffers=buffers, seeding_rounds=self.seeding_rounds + 1)

    def after_update(self, buffers: Buffers, rewards: RewardState, record: StepRecord, begun: Begun) -> SessionState:
        """After a step's update; the record is finished later."""
        begun = dataclasses.replace(begun, updates=record.metrics["ppo/steps"])
        return dataclasses.replace(
            self, step=record.step, buffers=buffers, rewards=rewards, unfinished=record, begun=begun
        )

    def finish(self, more: Mapping[str, float]) -> tuple[StepRecord, SessionState]:
        """The step's record with its last metrics, to be written, and the state without it."""
        assert self.unfinished is not None
        return self.unfinished.with_metrics(more), dataclasses.replace(self, unfinished=None)

    def to_json(self, elapsed_s: float) -> dict[str, Any]:
        """Plain types for a save, without the step; `elapsed_s` is the wall time of this start."""
        return {
            "unfinished": None if self.unfinished is None else self.unfinished.to_json(),
            "buffers": self.buffers.to_json(),
            "seeding_rounds": self.seeding_rounds,
            "reward_state": dataclasses.asdict(self.rewards),
            "before": self.scores_before,
            "seconds": self.seconds + elapsed_s,
            "problems": self.problems,
            "begun": self.begun.to_json(),
        }

    @classmethod
    def from_json(
        cls, step: int, saved: Mapping[str, Any], canonical: Mapping[str, Callable[[str], str]], capacity: int
    ) -> SessionState:
        """The state that `to_json` described; `canonical` and `capacity` as `Buffers.from_json` has them.

        Raises:
          KeyError, TypeError, AttributeError: not what `to_json` gives.
          ValueError: buffers of other languages.
        """
        unfinished = saved["unfinished"]
        return cls(
            step=step,
            buffers=Buffers.from_json(saved["buffers"], canonical, capacity),
            rewards=RewardState(**saved["reward_state"]),
            seeding_rounds=saved["seeding_rounds"],
            scores_before=saved["before"],
            seconds=saved["seconds"],
            unfinished=None if unfinished is None else StepRecord.from_json(step, unfinished),
            problems=saved.get("problems", ""),
            begun=Begun.from_json(saved["begun"]) if "begun" in saved else Begun(),
        )
