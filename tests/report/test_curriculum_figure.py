"""The curriculum by step: each measure of repetition, size and the band that a run has is a panel of its own values."""

import json

from run_folders import run_folder

from azr_jax.report import runs
from azr_jax.report.arms import arms_of
from azr_jax.report.curriculum import curriculum

PANELS = {
    "propose/racket/program/distinct": "different programs",
    "propose/racket/program/near_copies": "near copies by text",
    "propose/racket/program/behaviour_copies": "near copies by behaviour",
    "propose/racket/program/distinct_outputs": "different outputs",
    "propose/racket/program/depth": "depth",
    "propose/racket/program/nodes": "nodes of its syntax tree",
    "buffer/racket/band_deduction": "in the band, deduction",
    "buffer/racket/band_induction": "in the band, induction",
}


def test_what_repeats_how_large_it_is_and_what_is_in_the_band_are_panels(tmp_path):
    folder = run_folder(tmp_path / "run", steps=2)
    file = folder / "metrics.jsonl"
    more = {key: 0.5 + number / 100 for number, key in enumerate(PANELS)}
    rows = [json.loads(line) | more for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    figure = curriculum(arms_of([runs.load(folder, "run")]))
    values = {
        panel.title: [value for curve in panel.curves for series in curve.series for _, value in series]
        for panel in figure.panels
        if panel.kind == "lines"
    }
    for key, title in PANELS.items():
        assert values[title] == [more[key]] * 2, title
    assert "in the band, abduction" not in values
