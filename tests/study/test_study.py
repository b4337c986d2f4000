"""Studies: the grid is checked before anything runs, statistics by hand, and one real grid end to end."""

import dataclasses
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from azr_jax.study import grid, outcome, page
from configs.studies import learning_tiny, reward_tiny

REPOSITORY = Path(__file__).resolve().parents[2]


def study(**changes):
    mapping = learning_tiny.get_config().to_dict() | changes
    return grid.study_of(mapping, "learning_tiny")


def test_the_grid_has_every_combination_once_and_its_settings_are_real(tmp_path):
    rewards = grid.study_of(reward_tiny.get_config().to_dict(), "reward_tiny")
    cells = grid.cells_of(rewards, 3, tmp_path)
    assert len(cells) == len({cell.workdir for cell in cells}) == 3 * 3 * 17
    for cell in cells:
        config = grid.config_of(rewards, cell)
        assert config.seed == cell.seed
        assert config.languages == (cell.language,)
        assert (config.selfplay.estimate_temperature == 0.0) == (cell.arm == "greedy_estimates")
        schedules = ("eq4", "switch", "adaptive", "linear", "learnability", "uncertainty")
        assert config.reward.proposer == (cell.arm if cell.arm in schedules else "eq3")
        assert (config.reward.novelty > 0.0) == (cell.arm in ("novelty", "behaviour"))
        assert config.selfplay.train_on_estimates == (cell.arm == "train_on_estimates")
        assert config.reward.solver == ("graded" if cell.arm == "graded" else "plain")
        assert cell.language in config.evaluation.heldout


def test_a_part_of_the_grid_can_be_started_first(tmp_path):
    rewards = grid.study_of(reward_tiny.get_config().to_dict(), "reward_tiny")
    cells = grid.cells_of(rewards, 2, tmp_path)
    assert grid.chosen(rewards, cells, [], []) == cells
    part = grid.chosen(rewards, cells, ["julia", "racket"], ["eq4", "eq3"])
    assert [(cell.language, cell.seed, cell.arm) for cell in part] == [
        (language, seed, arm) for language in ("julia", "racket") for seed in (0, 1) for arm in ("eq3", "eq4")
    ]
    with pytest.raises(
        ValueError, match="--arms=eq5: study reward_tiny has adaptive, alternating, band, behaviour, composite, eq3"
    ):
        grid.chosen(rewards, cells, [], ["eq5"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"baseline": "none"}, "baseline='none'"),
        ({"arm": {}}, "'arm' is unknown"),
        ({"arms": {"permuted": ("reward.permut=True",)}}, "racket/permuted/seed 0"),
        ({"arms": {"permuted": ("reward.permute",)}}, "must be key=value"),
        ({"arms": {"permuted": ("steps='ten'",)}}, "steps"),
        ({"config": "configs/nothing.py"}, "configs/nothing.py"),
        ({"config": 3}, "config=3"),
        ({"languages": {}}, "languages={}"),
        ({"languages": ("racket",)}, "languages=('racket',)"),
        ({"arms": {"permuted": ("reward.permute=True")}}, "arms.permuted='reward.permute=True'"),
    ],
)
def test_bad_studies_are_refused_before_a_run_starts(changes, named, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match="learning_tiny") as error:
        changed = study(**changes)
        for cell in grid.cells_of(changed, 1, tmp_path):
            grid.config_of(changed, cell)
    assert named in str(error.value)


def test_a_finished_run_counts_only_with_the_settings_that_the_study_has(tmp_path):
    learning = study()
    cell = grid.cells_of(learning, 1, tmp_path)[0]
    config = grid.config_of(learning, cell)
    assert not grid.is_done(cell, config)
    cell.workdir.mkdir(parents=True)
    (cell.workdir / "config.json").write_text(config.to_json())
    (cell.workdir / "summary.json").write_text(json.dumps({"steps": config.steps}))
    assert not grid.is_done(cell, config), "it was ended before its report"
    (cell.workdir / "report.html").write_text("<html>")
    assert grid.is_done(cell, config)
    free = dataclasses.replace(config, checkpoint=dataclasses.replace(config.checkpoint, every=1))
    assert grid.is_done(cell, free)
    other = dataclasses.replace(config, reward=dataclasses.replace(config.reward, lambda_solve=2.0))
    with pytest.raises(ValueError, match=r"permuted-0: this run ended .*\n  reward.lambda_solve: 1.0 -> 2.0"):
        grid.is_done(cell, other)


def test_what_was_not_measured_is_null_in_the_json_and_a_dash_on_the_page(tmp_path):
    none = dataclasses.replace(result("real", 0, 0.2, 0.4), acc=(math.nan,) * 3)
    text = outcome.to_json([none])
    (read,) = json.loads(text, parse_constant=pytest.fail)
    assert read["acc"] == [None] * 3 and read["late"]["depth"] is None and read["late"]["valid"] == 0.5
    assert "| real | - | - | - |" in page.write(study(), [none], tmp_path, [])
    assert "| real | 50% | 30% | 20% |" in page.write(study(), [none, result("real", 1, 0.2, 0.4)], tmp_path, [])


def test_runs_of_another_machine_are_merged_by_their_study_json(tmp_path):
    learning = study(overrides=(*learning_tiny.get_config().overrides, "steps=4"))
    cells = grid.cells_of(learning, 2, tmp_path)
    configs = {cell.name: grid.config_of(learning, cell) for cell in cells}
    first, second = (
        dataclasses.replace(result("real", seed, 0.2, 0.4), settings=grid.made_by(configs[f"racket/real/seed {seed}"]))
        for seed in (0, 1)
    )
    assert any(line.startswith("selfplay.seed_triplets: ") for line in first.settings)
    mine, theirs = tmp_path / "mine.json", tmp_path / "theirs.json"
    mine.write_text(outcome.to_json([first]))
    theirs.write_text(outcome.to_json([second, dataclasses.replace(first, after=0.9), result("unknown", 0, 0.1, 0.2)]))
    merged = outcome.merged([mine, theirs], configs)
    assert merged.keys() == {"racket/real/seed 0", "racket/real/seed 1"}
    assert merged["racket/real/seed 0"].after == 0.4, "the first file counts"
    assert outcome.to_json(list(merged.values())) == outcome.to_json([first, second])
    sized = dataclasses.replace(first, settings=(*first.settings, "sampler.slots: 0 -> 7"))
    mine.write_text(outcome.to_json([sized]))
    assert outcome.merged([mine], configs) == {"racket/real/seed 0": sized}, "sizes of calls change no result"
    none = dataclasses.replace(first, acc=(math.nan,) * 3, late={"valid": math.nan})
    mine.write_text(outcome.to_json([none]))
    (read,) = outcome.from_json(mine)
    assert all(map(math.isnan, (*read.acc, read.late["valid"])))
    mine.write_text(outcome.to_json([dataclasses.replace(first, settings=("learner.lr: 1 -> 7",))]))
    with pytest.raises(ValueError, match=r"mine.json: racket/real/seed 0 was run .*learner.lr: 1 -> 7; "):
        outcome.merged([mine], configs)
    mine.write_text(outcome.to_json([dataclasses.replace(first, curve=((0.0, 0.2), (1.0, 0.4)))]))
    with pytest.raises(ValueError, match=r"seed 0 was run with other settings than the study has: steps: 1 -> 4;"):
        outcome.merged([mine], configs)
    mine.write_text("[1]")
    with pytest.raises(ValueError, match=r"mine.json: not a study.json of this version"):
        outcome.merged([mine], configs)


def test_the_difference_that_a_study_can_see():
    generator = np.random.default_rng(0)
    differences = [generator.normal(0.0, 0.05, 6) for _ in range(4)]
    smallest = outcome.visible(differences)
    deviation = math.sqrt(np.mean([np.var(pairs, ddof=1) for pairs in differences]))
    draws = generator.normal(smallest, deviation, (20_000, 6))
    assert 0.75 < np.mean(stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05) < 0.88
    assert math.isnan(outcome.visible([[0.1], []]))


def test_an_unknown_study_key_on_the_command_line_is_one_message():
    command = [sys.executable, "-m", "azr_jax.study", "--study=configs/studies/learning_tiny.py", "--study.nothing=1"]
    run = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert run.returncode != 0 and "Traceback" not in run.stderr
    assert run.stderr.startswith("error: ") and "nothing" in run.stderr


def test_seeds_and_places_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="--seeds=0"):
        grid.cells_of(study(), 0, tmp_path)
    with pytest.raises(ValueError, match="--parallel=0"):
        grid.Runner(study(), 0)


def test_ctrl_c_while_runs_are_still_being_queued_ends_those_that_run(tmp_path):
    """The study waited for its running cell to the end, and for all that were queued."""
    cells = grid.cells_of(study(), 1, tmp_path)
    log = cells[0].workdir.with_suffix(".log")

    def interrupted():
        yield cells[0]
        while not (log.exists() and log.read_text()):
            time.sleep(0.05)
        raise KeyboardInterrupt

    ended = []
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        grid.Runner(study(), 1).run_all(interrupted(), lambda cell, status: ended.append(status))
    assert time.monotonic() - begin < 60 and not ended
    assert "step 1/" not in log.read_text(), "the run went on"


def test_estimates_equal_scipy():
    values = [0.10, 0.16, 0.13, 0.21]
    estimate = outcome.estimate(values)
    reference = stats.ttest_1samp(values, 0.0)
    low, high = reference.confidence_interval()
    assert estimate == outcome.Estimate(*(pytest.approx(x) for x in (np.mean(values), low, high, reference.pvalue)))
    single = outcome.estimate([0.2])
    assert single.mean == 0.2 and math.isnan(single.low) and math.isnan(single.p)


def test_holm_by_hand():
    assert outcome.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert outcome.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    adjusted = outcome.holm([math.nan, 0.01])
    assert math.isnan(adjusted[0]) and adjusted[1] == 0.01


def result(arm, seed, before, after):
    return outcome.Result(
        "racket", arm, seed, before, after, 0.1, 0.2, (0.9, 1.0), (before / 0.9, after), {}, (0.5, 0.3, 0.2),
        ((0.0, before), (4.0, after)), 360, 1.0, ((1.0, 0.6, 0.3, 0.1), (2.0, 0.5, 0.3, 0.2)),
        {"valid": 0.5, "copies": 0.25, "acc": 0.4, "tokens": 20.0, "depth": math.nan},
    )  # fmt: skip


def test_conclusions_tell_a_difference_from_noise(tmp_path):
    clear = [result("real", seed, 0.2, 0.4 + seed / 100) for seed in range(3)]
    noise = [result("permuted", seed, 0.2, 0.2 + change) for seed, change in enumerate((-0.02, 0.0, 0.015))]
    sentences = page.conclusions(study(), {"real": clear, "permuted": noise})
    assert "larger than noise" in sentences[0] and "not told apart" in sentences[1]
    assert sentences[2].startswith("real ends +21.") and "(larger than noise" in sentences[2]
    runs = [("racket", "<b>", 8), ("racket", "<b>", 9), ("racket", "real", 3), ("lua", "real", 0)]
    left_out = [grid.Cell(*run, tmp_path, ()) for run in runs]
    text = page.write(study(), [*clear, *noise], tmp_path, left_out)
    assert "Not finished, and left out (seeds): racket: <b> 8 9, real 3; lua: real 0." in text
    assert "| real | 3 | 20.0 | 41.0 (38.5-43.5) | +21.0 (+18.5 to +23.5) |" in text
    written = (tmp_path / "study.html").read_text()
    assert "<svg" in written and "&lt;b&gt;" in written and "<b>" not in written
    assert "Content-Security-Policy" in written and 'class="card"' in written and 'id="unfold"' in written
    assert (tmp_path / "curves.png").stat().st_size > 1000 and (tmp_path / "hardness.png").stat().st_size > 1000
    # tokens as they are, shares as per cent, what was not measured as nothing.
    assert "| real | 50% | 25% | 40% | 20.0 | - | - | - |" in text


def test_an_interval_that_says_nothing_is_not_printed(tmp_path):
    wild = [result("real", 0, 0.2, 0.15), result("real", 1, 0.2, 0.42)]
    text = page.write(study(), wild, tmp_path, [])
    assert "| real | 2 | 20.0 | 28.5 (too few seeds for an interval) | +8.5 (too few seeds for an interval) |" in text
    near_the_end = [result("real", seed, 0.2, 0.98 + seed / 100) for seed in range(3)]
    assert "99.0 (96.5-100.0)" in page.write(study(), near_the_end, tmp_path, [])


def test_the_papers_order_is_looked_for(tmp_path):
    def arms(**ends):
        return {arm: [result(arm, seed, 0.2, end + seed / 100) for seed in range(3)] for arm, end in ends.items()}

    three_arms = study(arms={arm: () for arm in ("eq3", "eq4", "switch")}, baseline="eq3")
    *_, ranked, told = page.conclusions(three_arms, arms(eq3=0.35, eq4=0.25, switch=0.40))
    assert ranked == "By mean final accuracy: switch 41.0, eq3 36.0, eq4 26.0."
    assert "shows in the means" in told and "2 of its 2 differences are larger than noise" in told
    told = page.conclusions(three_arms, arms(eq3=0.35, eq4=0.36, switch=0.40))[-1]
    assert "does not show in the means (switch less eq3 +5.0" in told and "1 of its 2" in told
    assert page.conclusions(three_arms, arms(eq3=0.35, eq4=0.36))[-1].startswith("By mean")


def test_one_seed_says_that_it_says_nothing():
    arms = {"real": [result("real", 0, 0.2, 0.4)], "permuted": [result("permuted", 0, 0.2, 0.3)]}
    sentences = page.conclusions(study(), arms)
    assert len(sentences) == 4 and all("one seed" in sentence for sentence in sentences[:3])


def test_arms_without_a_seed_in_common_are_reported_and_not_compared():
    """A study that is going on, or one with failed runs, has such arms."""
    three_arms = study(arms={arm: () for arm in ("eq3", "eq4", "switch")}, baseline="eq3")
    arms = {"eq3": [result("eq3", 0, 0.2, 0.3)], "eq4": [result("eq4", 1, 0.2, 0.3)]}
    arms["switch"] = [result("switch", seed, 0.2, 0.4) for seed in (0, 1)]
    *_, told, left_out, ranked = page.conclusions(three_arms, arms)
    assert told.startswith("switch ends +10.0 points from eq3")
    assert left_out == "eq4 is not compared with eq3: they have no finished seed in common."
    assert ranked.startswith("By mean final accuracy: switch 40.0")


def study_command(folder, **mapping) -> list[str]:
    """The command of a study of configs/tiny.py with one seed; its files are in `folder`."""
    file, mapping = folder / "small.py", {"config": "configs/tiny.py"} | mapping
    text = f"import ml_collections\ndef get_config():\n    return ml_collections.ConfigDict({mapping!r})\n"
    file.write_text(text)
    return [sys.executable, "-m", "azr_jax.study", f"--study={file}", "--seeds=1", f"--out={folder / 'out'}"]


def test_a_study_of_one_run_without_steps_is_run_and_reported(tmp_path):
    least = ("steps=0", "selfplay.batch_per_task=2", "selfplay.seed_triplets=1", "selfplay.seed_problems=0")
    least += ("evaluation.heldout_limit=2", "evaluation.temperature_samples=0", "sampler.max_response_tokens=32")
    least += ("evaluation.heldout=azr_jax/embedded/heldout_python.jsonl",)
    python = {"python": ("languages=('python',)",)}
    command = study_command(tmp_path, baseline="real", overrides=least, languages=python, arms={"real": ()})
    run = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (row,) = json.loads((tmp_path / "out" / "study.json").read_text())
    assert (row["arm"], row["answers"]) == ("real", 2)
    assert (tmp_path / "out" / "study.html").is_file()


@pytest.mark.slow
def test_a_real_grid_runs_reports_and_resumes(tmp_path):
    small = ("steps=1", "selfplay.batch_per_task=2", "selfplay.seed_triplets=2", "selfplay.seed_problems=1")
    small += ("evaluation.heldout_limit=6",)
    arms = {"real": (), "permuted": ("reward.permute=True",)}
    command = study_command(tmp_path, baseline="permuted", overrides=small, languages={"racket": ()}, arms=arms)
    run = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    results = json.loads((tmp_path / "out" / "study.json").read_text())
    assert {result["arm"] for result in results} == {"real", "permuted"}
    assert all(result["answers"] == 6 for result in results)
    assert all(result["late"]["valid"] >= 0 for result in results)
    assert any((tmp_path / "out" / "compiled").iterdir())  # shared by the runs
    reported = subprocess.run([*command, "--report_only"], cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert reported.returncode == 0, reported.stderr
    again = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert again.returncode != 0 and "--resume" in again.stderr
    resumed = subprocess.run([*command, "--resume"], cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert resumed.returncode == 0 and "2 of them done before" in resumed.stderr
