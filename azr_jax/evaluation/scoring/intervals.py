"""Confidence intervals of shares, for tables on the terminal, in pages and in results. Standard library only."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054


def wilson(correct: float, n: int) -> tuple[float, float]:
    """The 95% Wilson score interval of a proportion; (0, 1) when nothing was counted.

    Source: Wilson, Probable inference, the law of succession, and statistical inference (JASA 1927).

    Raises:
      ValueError: impossible counts.
    """
    if n < 0 or not 0 <= correct <= max(n, 0):
        raise ValueError(f"correct={correct} of n={n}: must be between 0 and n")
    if n == 0:
        return 0.0, 1.0
    share, z2 = correct / n, Z_95 * Z_95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At the ends the exact bounds are 0 and 1; rounding would put them a hair inside.
    return (0.0 if correct == 0 else centre - half), (1.0 if correct == n else centre + half)
