"""Whether speculation without a draft model would pay: `python -m azr_jax.plan.drafts WORKDIR`.

A draft is what followed the most recent earlier place in prompt and response with the same last tokens (prompt lookup,
Saxena 2023). The sampler would verify a draft in one decode step and keep its tokens up to the first that it would not
have sampled. A kept response was sampled from the model, so the share of its tokens that the drafts guess is an
unbiased estimate of what verification accepts: the figure to decide by whether to set sampler.draft_rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from etils import epath

from azr_jax.flags import ShowDefaults
from azr_jax.workdir import json_lines
from azr_jax.workdir.files import TRANSCRIPTS_FILE
from azr_jax.workdir.settings import read_settings, reading
from executors.interruption import exit_with


class Counts(NamedTuple):
    """Tokens of responses, the decode steps that verification would take, tokens of drafts, and those of them kept."""

    tokens: int
    steps: int
    drafted: int
    kept: int


def simulate(prompt: Sequence[int], response: Sequence[int], order: int, drafts: int) -> Counts:
    """One response, with drafts of at most `drafts` tokens after the longest repeated run of at most `order` tokens."""
    tokens = [*prompt, *response]
    # The place after each run of 1 to `order` tokens, the most recent one.
    after: dict[tuple[int, ...], int] = {}
    known, place, steps, drafted, kept = 0, len(prompt), 0, 0, 0
    while place < len(tokens):
        for end in range(known + 1, place):
            for length in range(1, min(order, end) + 1):
                after[tuple(tokens[end - length : end])] = end
        known = max(known, place - 1)
        runs = (tuple(tokens[place - length : place]) for length in range(min(order, place), 0, -1))
        start = next((after[run] for run in runs if run in after), place)
        # What is known is repeated if it is shorter, as in sampler/drafting.py.
        draft = [tokens[start + n % (place - start)] for n in range(drafts)] if start < place else []
        right = 0
        while right < len(draft) and place + right < len(tokens) and draft[right] == tokens[place + right]:
            right += 1
        steps, drafted, kept = steps + 1, drafted + len(draft), kept + right
        place += right + 1
    return Counts(len(response), steps, drafted, kept)


def total(counts: Iterable[Counts]) -> Counts:
    """The sums."""
    return Counts(*map(sum, zip(*counts, strict=True)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures of a run's transcripts."""
    name = "python -m azr_jax.plan.drafts"
    parser = argparse.ArgumentParser(prog=name, description=__doc__, formatter_class=ShowDefaults)
    parser.add_argument("workdir", metavar="WORKDIR", help="a run that kept transcripts")
    parser.add_argument("--order", type=int, default=3, help="tokens that a draft's place has in common with the end")
    parser.add_argument("--drafts", type=int, default=4, help="tokens of a draft at most")
    parsed = parser.parse_args(arguments)
    try:
        if parsed.order < 1 or parsed.drafts < 1:
            raise ValueError(f"--order={parsed.order} --drafts={parsed.drafts}: use at least 1")
        with reading(parsed.workdir):
            counts = _of_run(epath.Path(parsed.workdir), parsed.order, parsed.drafts)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(
        f"{counts.tokens / counts.steps:.2f} tokens a decode step; {counts.kept / max(1, counts.drafted):.0%} of"
        f" {counts.drafted} drafted tokens kept ({counts.tokens} tokens)\n"
    )
    return 0


def _of_run(workdir: epath.Path, order: int, drafts: int) -> Counts:
    from azr_jax.model.hub import model_directory
    from azr_jax.model.tokenizer import load_tokenizer
    from azr_jax.model.weights import load_config

    path = str(model_directory(read_settings(workdir)["model"]["path"]))
    tokenizer = load_tokenizer(path, load_config(path))
    rows = [row for row in json_lines.rows(workdir / TRANSCRIPTS_FILE) if row.get("response")]
    if not rows:
        raise ValueError(f"{workdir}: no response in its {TRANSCRIPTS_FILE}; keep some (metrics.transcripts_per_step)")
    return total(
        simulate(tokenizer.encode(row["prompt"]), tokenizer.encode(row["response"]), order, drafts) for row in rows
    )


if __name__ == "__main__":
    exit_with(main)
