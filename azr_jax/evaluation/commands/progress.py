"""Shows an evaluation's progress: two bars on standard error, or lines if that is no terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_EVERY_S = 20.0
_Advance = Callable[[], None]


@contextlib.contextmanager
def progress(responses: int, problems: int) -> Iterator[tuple[_Advance, _Advance]]:
    """Two functions to call: for each sampled response, and for each judged problem."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(responses, problems)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        sampled = bars.add_task("sampled", total=responses)
        judged = bars.add_task("judged", total=problems)
        yield lambda: bars.advance(sampled), lambda: bars.advance(judged)


def _lines(responses: int, problems: int) -> tuple[_Advance, _Advance]:
    done = {"sampled": 0, "judged": 0}
    printed_at = time.monotonic()

    def advance(what: str) -> None:
        nonlocal printed_at
        done[what] += 1
        if done["judged"] == problems or time.monotonic() - printed_at > _LINE_EVERY_S:
            printed_at = time.monotonic()
            sys.stderr.write(f"sampled {done['sampled']} of {responses}, judged {done['judged']} of {problems}\n")
            sys.stderr.flush()

    return lambda: advance("sampled"), lambda: advance("judged")
