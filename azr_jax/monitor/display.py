"""The display of a run in progress: live on a terminal, else one line per step. No jax."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping

from absl import logging
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

WIDTH = 100
TYPES = ("deduction", "abduction", "induction")
_STEPS_FOR_RATE = 10
_DETAIL_S = 60.0


class Progress:
    """The display of one run of `total_steps` steps; a context manager. `console` is the terminal unless given."""

    def __init__(self, total_steps: int, console: Console | None = None) -> None:
        self._total = total_steps
        self._console = console or Console(highlight=False)
        self._step = 0
        self._phase, self._detail = "start", ""
        self._phase_began = self._last_update = self._detail_said = time.monotonic()
        self._phases_said: set[str] = set()
        self._metrics: Mapping[str, float] = {}
        self._step_seconds: list[float] = []
        self._live: Live | None = None
        # Called with the phase and its progress, whenever either changes.
        self.note: Callable[[str, str], None] = lambda phase, detail: None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live = Live(
                console=self._console, get_renderable=self._render, refresh_per_second=2, redirect_stdout=False
            )
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def phase(self, name: str) -> None:
        """Shows what the run does now. Without a terminal each name is printed once, and again after the last step."""
        self._phase, self._phase_began, self._detail = name, time.monotonic(), ""
        self._detail_said = self._phase_began
        self.note(name, "")
        if self._live is None and (name not in self._phases_said or self._step == self._total):
            self._say(_cut(name))
        self._phases_said.add(name)

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Shows a finished step with its `metrics`, of which any may be absent."""
        now = time.monotonic()
        self._step_seconds.append(metrics.get("time/step_s", now - self._last_update))
        del self._step_seconds[:-_STEPS_FOR_RATE]
        self._step, self._metrics, self._last_update = step, metrics, now
        if self._live is None:
            self._say(self.line())

    def detail(self, text: str) -> None:
        """Shows how far the phase is and what it waits for. Without a terminal it is printed once a minute."""
        self._detail = text
        self.note(self._phase, text)
        now = time.monotonic()
        if self._live is None and now - self._detail_said >= _DETAIL_S:
            self._detail_said = now
            self._say(_cut(f"{self._phase}: {text}"))

    def message(self, text: str) -> None:
        """Prints text that stays on the screen, of one or several lines."""
        self._say(text)

    def line(self) -> str:
        """The last step in at most 100 columns.

        `solve` is the accuracy in deduction, abduction and induction, `problems` that in problems of problems.path,
        `reward` the proposer's and the solver's mean.
        """
        got = self._metrics
        parts = [f"step {self._step}/{self._total}", f"left {self.time_left()}"]
        if (valid := got.get("propose/valid")) is not None:
            parts.append(f"valid {_percent(valid)}")
        if (acc := got.get("propose/acc")) is not None:
            parts.append(f"acc {_decimal(acc)}")
        solved = "/".join(_percent(got.get(f"solve/{kind}/accuracy")).rstrip("%") for kind in TYPES)
        parts.append(f"solve {solved}%")
        if (problems := got.get("solve/problems/accuracy")) is not None:
            parts.append(f"problems {_percent(problems)}")
        if "propose/reward" in got or "solve/reward" in got:
            parts.append(f"reward {_signed(got.get('propose/reward'))}/{_signed(got.get('solve/reward'))}")
        for key, unit in (("sample/tokens_per_s", "tok/s"), ("exec/programs_per_s", "prog/s")):
            if key in got:
                parts.append(f"{_short(got[key])} {unit}")
        while len(text := " ".join(parts)) > WIDTH:
            parts.pop()
        return text

    def time_left(self) -> str:
        """Time to the last step at the pace of the latest ones, as minutes:seconds; "?" before the first."""
        if not self._step_seconds:
            return "?"
        return clock(statistics.median(self._step_seconds) * (self._total - self._step))

    def _say(self, text: str) -> None:
        # No markup: the text may hold [brackets]; no wrapping: a log keeps its lines.
        try:
            self._console.print(Text(text), soft_wrap=True)
        except OSError as error:  # a log on a full disk, a closed terminal: the run goes on
            logging.error("can't be shown (%s): %s", error, text)

    def _render(self) -> Panel:
        head = Table.grid(padding=(0, 2), expand=True)
        for _ in range(3):
            head.add_column(no_wrap=True)
        head.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        head.add_row(
            Text(f"step {self._step} of {self._total}", style="bold"),
            ProgressBar(total=max(self._total, 1), completed=self._step, width=24),
            Text(f"left {self.time_left()}"),
            Text(f"{self._phase}, {clock(time.monotonic() - self._phase_began)}", style="cyan"),
        )
        width = min(WIDTH, self._console.width)
        parts = [head, Text(self._detail, style="dim", no_wrap=True, overflow="ellipsis")]
        parts += [self._task_table(), self._rates()] if self._metrics else []
        return Panel(Group(*parts), title="azr_jax", width=width, padding=(0, 1))

    def _task_table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("")
        types = (*TYPES, *(("problems",) if "solve/problems/formatted" in self._metrics else ()))
        for name in ("all", *types):
            table.add_column(name, justify="right")
        rows = (
            ("solver accuracy", "solve", "accuracy", _percent),
            ("  among well-formatted", "solve", "accuracy_formatted", _percent),
            ("valid proposals", "propose", "valid", _percent),
            ("estimated acc", "propose", "acc", _decimal),
            ("reward of proposer", "propose", "reward", _signed),
            ("reward of solver", "solve", "reward", _signed),
        )
        for title, role, key, form in rows:
            keys = (f"{role}/{key}", *(f"{role}/{kind}/{key}" for kind in types))
            table.add_row(title, *(form(self._metrics.get(name)) for name in keys))
        return table

    def _rates(self) -> Text:
        got = self._metrics
        rates = (
            ("sample/tokens_per_s", "{:,.0f} tokens/s"),
            ("exec/programs_per_s", "{:,.0f} programs/s"),
            ("time/step_s", "{:.1f} s a step"),
            ("ppo/entropy", "entropy {:.2f}"),
        )
        shown = "   ".join(form.format(got[key]) for key, form in rates if key in got)
        return Text(shown, style="dim", no_wrap=True, overflow="ellipsis")


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."


def _short(value: float) -> str:
    """A rate below 10^11 in at most five characters: 9999, 820k, 1235M."""
    if not math.isfinite(value):
        return "-"
    power = 0
    while value >= 10_000 and power < 3:
        value, power = value / 1000, power + 1
    return f"{value:.0f}{('', 'k', 'M', 'G')[power]}"


def _percent(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.0%}"


def _decimal(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:+.2f}"
