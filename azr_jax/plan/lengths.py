"""Lengths of a step's prompts and responses: a log-normal distribution, or a run's own. No jax."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from azr_jax.workdir import json_lines
from azr_jax.workdir.files import METRICS_FILE, TRANSCRIPTS_FILE

# Prompts and responses if nothing is measured: those of the project's speed workloads.
PROMPT_TOKENS, MEDIAN, SIGMA, VALID_SHARE = 1200, 500.0, 1.0, 0.5
TOKENS_PER_DRAFT_STEP = 1.5  # as azr-tiny's own text gives (docs/results/speculation.md)
_FEWEST = 100  # token counts in transcripts, from which on they are used as the distribution


@dataclasses.dataclass(frozen=True, slots=True)
class LogNormal:
    """Response lengths: log-normal with this median and sigma, capped; tokens."""

    median: float
    sigma: float
    cap: int

    def draw(self, count: int, seed: int) -> list[int]:
        """`count` lengths of at least 1 token, the same for the same seed."""
        drawn = np.random.default_rng(seed).lognormal(math.log(self.median), self.sigma, count)
        return np.clip(np.round(drawn), 1, self.cap).astype(int).tolist()


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """Response lengths drawn from those that a run had, with replacement."""

    tokens: tuple[int, ...]
    cap: int

    def draw(self, count: int, seed: int) -> list[int]:
        """`count` lengths, capped at this config's longest response."""
        return np.minimum(np.random.default_rng(seed).choice(self.tokens, count), self.cap).astype(int).tolist()


@dataclasses.dataclass(frozen=True, slots=True)
class Lengths:
    """The lengths of a simulated step, and what a row draws in a step with drafts; `source`: where they are from."""

    responses: LogNormal | Measured
    prompt_tokens: int
    valid_share: float
    source: str
    tokens_per_draft_step: float = TOKENS_PER_DRAFT_STEP


def parse(text: str, cap: int, prompt_cap: int) -> Lengths:
    """Of `--lengths`: empty for the default, `MEDIAN,SIGMA` of a log-normal, or the folder of a run.

    `cap` and `prompt_cap`: the config's longest response and prompt.

    Raises:
      ValueError: neither two positive numbers nor a folder with a run's metrics.jsonl.
    """
    if not text or "," in text:
        median, sigma = (MEDIAN, SIGMA) if not text else _two_numbers(text)
        prompt_tokens = min(PROMPT_TOKENS, prompt_cap)
        source = f"log-normal, median {median:g}, sigma {sigma:g}, prompts of {prompt_tokens}"
        return Lengths(LogNormal(median, sigma, cap), prompt_tokens, VALID_SHARE, source)
    workdir = epath.Path(text)
    rows = list(json_lines.rows(workdir / METRICS_FILE))
    if not rows:
        raise ValueError(f"--lengths={text}: no {METRICS_FILE} there: name a run's folder, or MEDIAN,SIGMA as 500,1")
    prompt_tokens = min(prompt_cap, max(1, round(_mean(rows, "sample/prompt_tokens", PROMPT_TOKENS))))
    valid = min(1.0, _mean(rows, "propose/valid", VALID_SHARE))
    drawn = max(1.0, _mean(rows, "sample/tokens_per_draft_step", TOKENS_PER_DRAFT_STEP))
    tokens = tuple(_token_counts(workdir))
    if len(tokens) >= _FEWEST:
        source = f"{len(tokens)} responses in {workdir / TRANSCRIPTS_FILE}, prompts of {prompt_tokens}"
        return Lengths(Measured(tokens, cap), prompt_tokens, valid, source, drawn)
    mean = _mean(rows, "sample/response_tokens", LogNormal(MEDIAN, SIGMA, cap).median)
    fitted = LogNormal(_median_of(mean, SIGMA, cap), SIGMA, cap)
    source = f"log-normal with the mean of {workdir / METRICS_FILE}, {mean:.0f} tokens, and sigma {SIGMA:g}"
    source += f", prompts of {prompt_tokens}"
    return Lengths(fitted, prompt_tokens, valid, source, drawn)


def _two_numbers(text: str) -> tuple[float, float]:
    try:
        median, sigma = (float(part) for part in text.split(","))
    except ValueError:
        median = sigma = 0.0
    if not (0 < median < math.inf and 0 < sigma < math.inf):
        raise ValueError(f"--lengths={text}: give a median and a sigma above 0, as 500,1, or the folder of a run")
    return median, sigma


def _mean(rows: Sequence[Mapping[str, Any]], key: str, default: float) -> float:
    """Of the numbers that a run can write: a damaged file may hold others, such as NaN."""
    values = [row[key] for row in rows if isinstance(row.get(key), int | float) and 0 <= row[key] < math.inf]
    return float(np.mean(values)) if values else default


def _token_counts(workdir: epath.Path) -> Iterator[int]:
    for row in json_lines.rows(workdir / TRANSCRIPTS_FILE):
        count = row.get("tokens")
        if isinstance(count, int) and count > 0:
            yield count


def _median_of(mean: float, sigma: float, cap: int) -> float:
    """The median of the log-normal that has this mean once it is capped; bisection on the mean of 20,000 draws."""
    low, high = 1.0, float(cap)
    for _ in range(30):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if np.mean(LogNormal(middle, sigma, cap).draw(20000, 0)) < mean else (low, middle)
    return low
