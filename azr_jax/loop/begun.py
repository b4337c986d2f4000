"""Responses that a step begins for the next one (`pipeline.lag`), with the weights that it has.

The next step's proposals enter the slots that the tail of a step leaves empty. There each draws at most
`pipeline.early_share` of the longest response; a longer one is continued in its own step, by the new weights, from a
prefill of its prompt and the tokens it has (partial rollouts: Kimi k1.5, arXiv 2501.12599; AReaL, arXiv 2505.24298).
Each token's log-probability is that of the weights that sampled it, so that a ratio to the sampler's policy is right
for every token, and no key or value in a cache is older than the weights that read it.

Where a response changes its policy is a number of tokens, not a moment: a moment would depend on when programs end, and
a resumed run would sample something else. All of them are continued: keeping only those that ended would make proposals
shorter than the policy's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from azr_jax.config import Config, SamplerSettings
from azr_jax.sampler import stopping
from azr_jax.types import Rollout, Scored, StopReason


@dataclasses.dataclass(frozen=True, slots=True)
class Begun:
    """The next step's proposals, as far as they are sampled.

    rollouts: by request id; one with fewer tokens than it may have, and the stop reason LENGTH, is to be continued.
    updates: optimizer steps made since.
    """

    rollouts: Mapping[str, Rollout] = dataclasses.field(default_factory=dict)
    updates: float = 0.0

    def of(self, request_id: str, prompt_ids: Sequence[int], settings: SamplerSettings) -> Rollout | None:
        """What is sampled of a request, if it is asked the same prompt still and fits (`--allow_config_change`)."""
        begun = self.rollouts.get(request_id)
        if begun is None or begun.prompt_ids != tuple(prompt_ids):
            return None
        done = len(begun.token_ids)
        fits = done <= settings.max_response_tokens and len(prompt_ids) + done <= settings.max_prompt_tokens
        return begun if fits else None

    def to_json(self) -> dict[str, Any]:
        """Plain types for a save."""
        return {"rollouts": [dataclasses.asdict(begun) for begun in self.rollouts.values()], "updates": self.updates}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Begun:
        """What `to_json` described."""
        rollouts = [
            Rollout(
                **entry
                | {name: tuple(entry[name]) for name in ("prompt_ids", "token_ids", "logprobs")}
                | {"stop_reason": StopReason(entry["stop_reason"])}
            )
            for entry in state["rollouts"]
        ]
        return cls({begun.request_id: begun for begun in rollouts}, state["updates"])


def early_tokens(config: Config, prompt_tokens: int) -> int:
    """Tokens that a response may draw before its step; its prompt and they have to be a prompt that may be sampled."""
    sampler = config.sampler
    share = int(config.pipeline.early_share * sampler.max_response_tokens)
    return min(share, sampler.max_prompt_tokens - prompt_tokens)


def continued(begun: Rollout, rest: Rollout, stop: Sequence[str], decode: Callable[[Sequence[int]], str]) -> Rollout:
    """The response whose tokens are those of `begun`, then those of `rest`, which was sampled after them.

    Ends at the first of the `stop` strings, which may begin in `begun`; its text has it, as `Request.keeps_stop`.
    """
    token_ids, reason = begun.token_ids + rest.token_ids, rest.stop_reason
    stopped = stopping.cut(token_ids, len(rest.token_ids), stop, decode)
    kept = len(token_ids)
    if stopped is not None:
        kept, reason = stopped[0], StopReason.STOP_STRING
    return dataclasses.replace(
        begun,
        token_ids=token_ids[:kept],
        logprobs=(begun.logprobs + rest.logprobs)[:kept],
        text=decode(token_ids[: kept - (reason is StopReason.EOS)]),
        stop_reason=reason,
        earlier_tokens=len(begun.token_ids),
    )


def lag_metrics(scored: Sequence[Scored], updates: float | None) -> dict[str, float]:
    """What weights of `updates` optimizer steps ago sampled of a step's responses; {} without a lag (None)."""
    if updates is None:
        return {}
    rollouts = [response.rollout for response in scored]
    early = [rollout for rollout in rollouts if rollout.earlier_tokens]
    mixed = sum(rollout.earlier_tokens < len(rollout.token_ids) for rollout in early)
    tokens = sum(len(rollout.token_ids) for rollout in rollouts)
    return {
        "sample/lag_tokens": sum(rollout.earlier_tokens for rollout in early) / max(1, tokens),
        "sample/lag_mixed": mixed / max(1, len(rollouts)),
        "sample/lag_updates": updates,
    }
