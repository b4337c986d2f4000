"""Requests with the lengths of a workload. `max_tokens` sets them, since random weights draw no end token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from azr_jax.sampler.requests import Request


def prompt(tokens: int, vocab_size: int, seed: int) -> tuple[int, ...]:
    """Random token ids."""
    return tuple(np.random.default_rng(seed).integers(0, vocab_size, tokens).tolist())


def equal(count: int, prompt_tokens: int, new_tokens: int, vocab_size: int) -> list[Request]:
    """`count` different prompts, answers of one length, temperature 1."""
    return [
        Request(f"equal/{number}", prompt(prompt_tokens, vocab_size, number), new_tokens, 1.0)
        for number in range(count)
    ]


def grouped(lengths: Sequence[int], samples: int, prompt_tokens: int, vocab_size: int) -> list[Request]:
    """One request a length; each prompt is shared by `samples` of them in turn."""
    return [
        Request(f"tail/{number}", prompt(prompt_tokens, vocab_size, 1000 + number // samples), length, 1.0)
        for number, length in enumerate(lengths)
    ]
