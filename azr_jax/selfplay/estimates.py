"""`acc` of a proposal from its m solver samples, and its metrics. No jax."""

from __future__ import annotations

from collections.abc import Sequence


def accuracy(correct: Sequence[bool | None]) -> float | None:
    """Mean correctness of one proposal's solver samples, an answer that does not parse counting as wrong.

    Args:
      correct: one entry a sample; None for a sample that the executor pool failed on, which is left out.

    Returns:
      The mean in [0, 1], or None if no sample is left: the proposal has no reward and leaves the batch.
    """
    judged = [sample for sample in correct if sample is not None]
    return sum(judged) / len(judged) if judged else None


def accuracy_metrics(accs: Sequence[float], proposals: int) -> dict[str, float]:
    """Raw mean acc, P(acc=0), P(acc=1), P(0<acc<1) over the valid proposals, and the rate of invalid ones.

    They are separate because Eq. 3 gives acc=0 and acc=1 the same reward: a flat "proposer accuracy" may be a mass at
    both ends, as estimation at temperature 0 gives. Keys that would divide by zero are left out.

    Args:
      accs: acc of each valid proposal.
      proposals: how many were made, those dropped for infrastructure excluded.

    Raises:
      ValueError: more valid proposals than proposals.
    """
    if len(accs) > proposals:
        raise ValueError(f"{len(accs)} valid proposals of {proposals}: count every proposal made")
    metrics = {"invalid_rate": 1.0 - len(accs) / proposals} if proposals else {}
    if accs:
        never = sum(acc == 0.0 for acc in accs) / len(accs)
        always = sum(acc == 1.0 for acc in accs) / len(accs)
        between = sum(0.0 < acc < 1.0 for acc in accs) / len(accs)
        metrics |= {"acc": sum(accs) / len(accs), "acc_zero": never, "acc_one": always, "acc_between": between}
    return metrics


def accuracy_histogram(accs: Sequence[float], samples: int) -> dict[str, float]:
    """Share of the valid proposals at each possible acc: `acc_histogram/K_of_M` for K of 0 to M = `samples`.

    A proposal of which the executors failed on some samples counts at the nearest K. Empty without any acc.
    """
    if not accs:
        return {}
    nearest = [round(acc * samples) for acc in accs]
    return {f"acc_histogram/{k}_of_{samples}": nearest.count(k) / len(accs) for k in range(samples + 1)}
