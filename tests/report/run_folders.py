"""Workdirs as a run leaves them, made up, and a page's elements as a parser sees them."""

from __future__ import annotations

import html.parser
import json
from pathlib import Path
from typing import Any

from azr_jax.config import MetricsSettings, from_mapping
from azr_jax.workdir.metrics import Writers
from configs import tiny

KINDS = ("deduction", "abduction", "induction")
EVIL = "</script><script>alert('pwned')</script><img src=x onerror=alert(1)>\"'&\u202e\ud800\u2028<!--<script>"
FIGURES = (
    *("fig2_score", "fig3_proposer", "fig4_solver", "acc_histogram", "reward_composition", "rewards"),
    *("errors", "outcomes", "buffers", "curriculum", "entropy", "time"),
)


def step_metrics(step: int) -> dict[str, float]:
    share = step / 40
    metrics = {"propose/valid": 0.5, "propose/reward": -0.2, "solve/reward": share, "ppo/entropy": 1.0 - share}
    metrics |= {
        "time/step_s": 6.0,
        "time/play_s": 3.0,
        "time/update_s": 1.5,
        "time/evaluate_s": 0.5,
        "time/save_s": 0.25,
    }
    metrics |= {"time/sampling_s": 2.0, "time/prefill_s": 0.5, "time/decode_s": 1.25, "time/waiting_s": 0.5}
    metrics |= {"time/save_s": 0.25, "time/save_write_s": 0.75, "time/cpu_s": 5.0, "ppo/grad_norm": 0.7}
    metrics |= {
        "propose/outcome/valid": 0.5,
        "solve/outcome/correct": share,
        "buffer/racket/triplets_size": 64.0 + step,
        "propose/racket/program/tokens": 20.0 + step,
        "propose/racket/program/distance": 0.9,
        "solve/accuracy": share,
        "solve/formatted": 0.9,
        "solve/error/syntax": 0.1,
        "solve/error/timeout": 0.0,
        "propose/acc_between": 0.6,
        "exec/programs": 100.0,
        "exec/programs_per_s": 20.0,
    }
    for kind in KINDS:
        metrics |= {f"solve/{kind}/accuracy": share, f"solve/{kind}/accuracy_formatted": share}
        metrics |= {f"propose/{kind}/acc": 0.4, f"propose/{kind}/acc_zero": 0.3, f"propose/{kind}/acc_one": 0.1}
        metrics |= {f"propose/{kind}/acc_between": 0.6, f"propose/{kind}/reward": 0.1}
        metrics |= {f"propose/{kind}/acc_histogram/{k}_of_10": 0.1 for k in range(10)}
    if step % 10 == 0:
        metrics |= {"eval/heldout/greedy/all/accuracy": 0.4 + share / 10, "ppo/loss": float("nan")}
    return metrics


def row(step: int, role: str = "solve", kind: str = "deduction", text: str = "1 < 2") -> dict:
    return {
        "task_id": f"{step}/{role}/{kind}/0",
        "role": role,
        "type": kind,
        "language": "racket",
        "prompt": f"prompt {text}",
        "response": text,
        "stop_reason": "eos",
        "outcome": "correct",
        "correct": True,
        "reward": 1.0,
        "acc": None,
    }


def summary() -> dict:
    def counts(*correct: int) -> dict:
        return {kind: {"n": 100, "correct": n, "formatted": 80} for kind, n in zip(KINDS, correct, strict=True)}

    return {
        "steps": 30,
        "seconds": 600.0,
        "heldout_before": counts(40, 30, 20),
        "heldout_after": counts(60, 40, 35),
        "heldout_before_sampled": counts(30, 20, 10),
        "heldout_after_sampled": counts(50, 30, 25),
        "versions": {"jax": "0.10.2"},
    }


def run_folder(path: Path, steps: int = 30, finished: bool = True, text: str = "1 < 2", **settings: Any) -> Path:
    """A run's workdir; `settings` are configs/tiny.py's, such as `reward__proposer="eq4"`."""
    path.mkdir(parents=True)
    config = tiny.get_config()
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in settings.items()})
    (path / "config.json").write_text(from_mapping(config.to_dict()).to_json())
    writing = MetricsSettings(tensorboard=False, wandb=False, wandb_project="", transcripts_per_step=6)
    with Writers(path, writing, "{}") as out:
        for step in range(1, steps + 1):
            out.write(step, step_metrics(step))
            rows = [row(step, role, kind, text) for role in ("propose", "solve") for kind in KINDS]
            out.transcripts(step, rows)
    if finished:
        (path / "summary.json").write_text(json.dumps(summary()))
    return path


class Page(html.parser.HTMLParser):
    """What a browser would see: elements with attributes, the text of scripts, ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.scripts: list[tuple[dict, str]] = []
        self.text: list[str] = []
        self._script: dict | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs)
            self.scripts.append((self._script, ""))

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._script is not None:
            attributes, before = self.scripts.pop()
            self.scripts.append((attributes, before + data))
        else:
            self.text.append(data)

    @property
    def island(self) -> list[dict]:
        (content,) = [text for attributes, text in self.scripts if attributes.get("id") == "transcripts"]
        return json.loads(content)
