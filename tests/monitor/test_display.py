"""What a terminal and a log show of a run."""

import contextlib
import io
import math
import re

import pytest
from rich.console import Console

from azr_jax.monitor import display
from azr_jax.monitor.display import Progress, clock

FULL = {
    "propose/valid": 1.0,
    "propose/acc": 1.0,
    "propose/reward": -1.0,
    "solve/reward": -0.5,
    "solve/accuracy": 1.0,
    "sample/tokens_per_s": 1234567.0,
    "exec/programs_per_s": 9999.0,
    "time/step_s": 100.0,
    **{f"solve/{kind}/accuracy": 1.0 for kind in ("deduction", "abduction", "induction")},
}


def played(terminal: bool, width: int = 100, total: int = 5000) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, color_system=None)
    with Progress(total, console) as progress:
        progress.phase("seed 12 triplets to go")
        for step in (4998, 4999):
            progress.phase("play")
            progress.update(step, FULL)
        progress.message("saved\n[bold]at[/bold] step 4999")
        progress.phase("save")
    return out.getvalue()


def test_a_log_has_a_line_a_step_of_at_most_100_columns():
    lines = played(terminal=False).splitlines()
    assert lines[:2] == ["seed 12 triplets to go", "play"]
    assert [line.split(" left")[0] for line in lines[2:4]] == ["step 4998/5000", "step 4999/5000"]
    assert lines[4:] == ["saved", "[bold]at[/bold] step 4999", "save"]
    assert max(map(len, lines)) <= 100


def test_problems_are_shown_where_a_step_has_them(monkeypatch):
    assert "problems" not in played(terminal=False) and "problems" not in played(terminal=True)
    monkeypatch.setitem(FULL, "solve/problems/accuracy", 0.25)
    monkeypatch.setitem(FULL, "solve/problems/formatted", 0.5)
    assert "problems 25%" in played(terminal=False)
    shown = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", played(terminal=True)).splitlines()
    assert any(line.split()[-2:-1] == ["problems"] for line in shown) and any("25%" in line for line in shown)
    assert max(map(len, shown)) <= 100


def test_how_far_a_phase_is_shows_on_a_terminal_and_once_a_minute_in_a_log(monkeypatch):
    def shown(terminal: bool, period_s: float) -> str:
        monkeypatch.setattr(display, "_DETAIL_S", period_s)
        out = io.StringIO()
        with Progress(9, Console(file=out, force_terminal=terminal, width=100, color_system=None)) as progress:
            progress.phase("play")
            progress.detail("3 responses, 5 to come in 16 slots; 2 programs, 1 running")
        return out.getvalue()

    assert "play: 3 responses, 5 to come in 16 slots; 2 programs, 1 running" in shown(False, 0.0)
    assert "responses" not in shown(False, 60.0)
    assert "3 responses, 5 to come" in shown(True, 60.0)


def test_a_log_on_a_full_disk_does_not_end_the_run(caplog):
    with open("/dev/full", "w") as full:
        with Progress(9, Console(file=full)) as progress:
            progress.update(1, FULL)
            progress.message("saved at step 1")
        assert "No space left" in caplog.text and "saved at step 1" in caplog.text
        with contextlib.suppress(OSError):
            full.close()


def test_a_usual_line_says_everything():
    out = io.StringIO()
    usual = FULL | {"propose/valid": 0.41, "solve/deduction/accuracy": 0.4, "sample/tokens_per_s": 820.0}
    with Progress(500, Console(file=out)) as progress:
        progress.update(128, usual | {"propose/acc": 0.333, "exec/programs_per_s": 95.0, "time/step_s": 6.0})
    assert out.getvalue() == (
        "step 128/500 left 37:12 valid 41% acc 0.33 solve 40/100/100% reward -1.00/-0.50 820 tok/s 95 prog/s\n"
    )


@pytest.mark.parametrize(
    ("step", "total", "factor", "end"),
    [
        (3, 50, 1.0, "reward -1.00/-0.50 1235k tok/s"),
        (128, 500, 1e3, "reward -1.00/-0.50 1235M tok/s"),
        (123_456_789, 10**9, 1e9, "solve 100/100/100%"),
        (3, 500, math.nan, "solve -/-/-% reward -/- - tok/s - prog/s"),
    ],
)
def test_long_numbers_and_none_fit_too(step, total, factor, end):
    shares = {key: value * (factor if math.isnan(factor) else 1.0) for key, value in FULL.items()}
    rates = {key: FULL[key] * factor for key in ("sample/tokens_per_s", "exec/programs_per_s")}
    progress = Progress(total, Console(file=io.StringIO()))
    progress.update(step, shares | rates | {"time/step_s": 1e5})
    assert len(progress.line()) <= 100 and progress.line().endswith(end)


def test_few_metrics_are_enough():
    for terminal in (False, True):
        out = io.StringIO()
        with Progress(3, Console(file=out, force_terminal=terminal, width=100)) as progress:
            progress.update(1, {})
        assert "1" in out.getvalue()


def test_a_terminal_shows_the_whole_state_within_100_columns():
    shown = played(terminal=True)
    for text in ("step 4999 of 5000", "left 1:40", "deduction", "solver accuracy", "estimated acc", "tokens/s"):
        assert text in shown
    frame = shown[shown.rindex("azr_jax") :]
    assert "save, 0:0" in frame and "programs/s" in frame
    assert "[bold]at[/bold] step 4999" in shown


def test_a_wide_terminal_gets_no_wider_display_and_a_narrow_one_fits():
    for width, most in ((200, 100), (60, 60)):
        lines = played(terminal=True, width=width).replace("\r", "\n").splitlines()
        boxes = [line for line in lines if "│" in line or "╭" in line]
        assert boxes and max(len(line[line.index("│" if "│" in line else "╭") :]) for line in boxes) <= most + 20


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00")])
def test_clock(seconds, text):
    assert clock(seconds) == text
