"""From the device's sums to `ppo/...` floats.

Over every token visited in the update: `loss` and its parts (`policy_loss`, `entropy_loss`, `kl_loss`, `value_loss`,
coefficients included; means over minibatches), `ratio_mean`, `ratio_max`, `clip_fraction`, `approx_kl` (old to new
policy), `entropy` (nats), `mismatch_mean`, `mismatch_max` (|trainer - sampler| log-probability, nats), `mismatch_kl`
(sampler to trainer), `mismatch_prob_error` (mean of exp |trainer - sampler|, NeMo-RL's multiplicative probability
error: 1 when equal, above 1.05 an alarm), `importance_weight_mean`, `importance_masked` (share of tokens with weight
0), `kl_ref`. Of the first minibatch: `first_ratio_mean`,
`first_ratio_max`, `recompute_gap_max` (the pass before the update against the update itself, where that pass ran). By
task, `ppo/{role}_{type}/...`: `tokens`, `entropy`, `clip_fraction`, `approx_kl`, `mismatch_mean`, `mismatch_kl`. Of
the steps: `grad_norm` (before clipping; mean), `learning_rate` (last), `steps`, `nonfinite` (skipped in this update),
`skipped_updates` (in the whole run). Of the batch: `response_tokens`, `rows`, `row_fill`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from azr_jax.learner.packing import TASK_GROUP_NAMES, Batch

_RENAMED = {"ratio": "ratio_mean", "mismatch": "mismatch_mean", "importance_weight": "importance_weight_mean"}
_PER_MINIBATCH = ("loss", "policy_loss", "entropy_loss", "kl_loss", "value_loss")


def update_metrics(
    results: list[dict[str, Any]], batches: Sequence[Batch], measured: dict[str, float]
) -> dict[str, float]:
    """Metrics of one update from the results of its optimizer steps, in order.

    Averages leave out skipped steps, unless all were skipped.
    """
    counted = [result for result in results if result["finite"]] or results
    first = results[0]["statistics"]
    metrics = {
        "ppo/grad_norm": float(np.mean([result["gradient_norm"] for result in counted])),
        "ppo/learning_rate": float(results[-1]["learning_rate"]),
        "ppo/steps": float(sum(bool(result["finite"]) for result in results)),
        "ppo/nonfinite": float(sum(not result["finite"] for result in results)),
        "ppo/skipped_updates": float(results[-1]["skipped_updates"]),
        "ppo/first_ratio_mean": float(first["sum"]["ratio"] / first["sum"]["tokens"]),
        "ppo/first_ratio_max": float(first["max"]["ratio"]),
        "ppo/response_tokens": float(sum(batch.loss_mask_RT.sum() for batch in batches)),
        "ppo/rows": float(sum(len(batch.tokens_RT) for batch in batches)),
        "ppo/row_fill": float(np.concatenate([batch.segment_ids_RT > 0 for batch in batches]).mean()),
        **measured,
    }
    statistics = [result["statistics"] for result in counted]
    for name in ("ratio", "mismatch"):
        metrics[f"ppo/{name}_max"] = float(np.max([step["max"][name] for step in statistics]))
    metrics["ppo/recompute_gap_max"] = float(first["max"]["recompute_gap"])
    sums = {name: np.array([step["sum"][name] for step in statistics], np.float64) for name in first["sum"]}
    tokens = sums.pop("tokens").sum()
    for name, values in sums.items():
        mean = values.mean() if name in _PER_MINIBATCH else values.sum() / tokens
        metrics[f"ppo/{_RENAMED.get(name, name)}"] = float(mean)
    return metrics | _group_metrics(statistics)


def _group_metrics(statistics: list[dict[str, Any]]) -> dict[str, float]:
    sums_7 = {}
    for name in statistics[0]["group"]:
        own_6 = np.sum([step["group"][name] for step in statistics], axis=0)
        # The device sums the groups of self-play and all together: the rest is of problems.
        sums_7[name] = [*own_6, sum(float(step["sum"][name]) for step in statistics) - own_6.sum(dtype=np.float64)]
    tokens_7 = sums_7.pop("tokens")
    metrics = {}
    for group, label in enumerate(TASK_GROUP_NAMES):
        if not tokens_7[group]:
            continue
        metrics[f"ppo/{label}/tokens"] = float(tokens_7[group])
        for name, values_7 in sums_7.items():
            metrics[f"ppo/{label}/{_RENAMED.get(name, name)}"] = float(values_7[group] / tokens_7[group])
    return metrics
