"""The report: complete from a whole run, usable from a part of one, and no text of a model is ever markup."""

import base64
import csv
import hashlib
import json
import pathlib
import re
import xml.etree.ElementTree

import pytest
from run_folders import EVIL, FIGURES, KINDS, Page, run_folder, summary
from run_folders import row as transcript

from azr_jax.report import markup, paper, reasons, runs, sampled, summary_text, transcripts, write
from azr_jax.report.__main__ import main
from azr_jax.report.arms import arms_of
from azr_jax.report.curves import running_mean
from azr_jax.report.figures import figures


def test_the_page_has_every_figure_and_the_files_beside_it(whole):
    content = (whole / "report.html").read_text(encoding="utf-8")
    ids = {attributes.get("id") for tag, attributes in Page(content).elements if tag == "figure"}
    assert ids == set(FIGURES)
    drawings = re.findall(r"<svg.*?</svg>", content, flags=re.DOTALL)
    assert "No data yet" not in content
    # A drawing for each panel, in the order of the page.
    assert len(drawings) == content.count('class="plot"') > 2 * len(FIGURES)
    for drawing in drawings:
        root = xml.etree.ElementTree.fromstring(drawing)
        assert len(root.findall(".//{http://www.w3.org/2000/svg}path")) > 5
    for name in FIGURES:
        assert (whole / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    with (whole / "figures" / "fig2_score.csv").open(newline="") as stream:
        greedy = [line for line in csv.DictReader(stream) if line["panel"] == "held-out problems, greedy"]
    points = {(line["curve"], line["step"]): float(line["value"]) for line in greedy}
    # Before and after are the summary's; the points between are the metrics'.
    assert points["all", "0.0"] == pytest.approx(0.3) and points["all", "30.0"] == pytest.approx(0.45)
    assert points["all", "10.0"] == pytest.approx(0.425)
    assert points["deduction", "30.0"] == pytest.approx(0.6)


def test_the_heldout_table_has_the_intervals(whole):
    text = " ".join(Page((whole / "report.html").read_text(encoding="utf-8")).text)
    assert "40.0 (30.9-49.8)" in text and "60.0 (50.2-69.1)" in text and "+20.0" in text
    assert "greedy, all" in text and "sampled, induction" in text and "300" in text


def test_model_text_is_data_and_never_markup(whole):
    content = (whole / "report.html").read_text(encoding="utf-8")
    page = Page(content)
    assert page.island[0]["response"] == EVIL and page.island[0]["prompt"] == f"prompt {EVIL}"
    assert len(page.island) == 30 * 6
    assert [attributes.get("id") for attributes, _ in page.scripts] == ["transcripts", "places", None, None]
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert "alert(" not in "".join(page.text) and "\u202e" not in content and "<img" not in content
    script = page.scripts[-2][1] + page.scripts[-1][1]
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("):
        assert forbidden not in script


def test_the_policy_allows_these_scripts_alone_and_nothing_is_fetched(whole):
    page = Page((whole / "report.html").read_text(encoding="utf-8"))
    (policy,) = [attributes["content"] for tag, attributes in page.elements if attributes.get("http-equiv")]
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for _, script in page.scripts[-2:]]
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}';" in policy
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "base")
        assert "src" not in attributes
        link = attributes.get("href", attributes.get("xlink:href", "#"))
        # Rasterised cells are in the page; the files beside it are links that a reader may follow.
        assert link.startswith(("#", "data:image/png;base64,")) or (whole / link).is_file()


@pytest.fixture
def draw_only(monkeypatch):
    """Pages with the named figures: drawing all of them takes seconds."""

    def choose(*names):
        chosen = lambda arms: [figure for figure in figures(arms) if figure.name in names]  # noqa: E731
        monkeypatch.setattr("azr_jax.report.figures.figures", chosen)

    return choose


@pytest.fixture
def one_figure(draw_only):
    draw_only("fig4_solver")


def test_a_hostile_name_of_a_run_is_text(tmp_path, one_figure):
    workdir = run_folder(tmp_path / "<b onclick=x> $\\frac{1}{0}$", steps=2)
    out = tmp_path / "r.html"
    write([workdir, run_folder(tmp_path / "other", steps=2)], out)
    page = Page(out.read_text(encoding="utf-8"))
    assert not any(tag == "b" for tag, _ in page.elements)
    assert any("<b onclick=x>" in text for text in page.text)


@pytest.mark.parametrize("steps", [0, 1])
def test_a_run_that_has_just_begun(tmp_path, steps, draw_only):
    draw_only("fig2_score", "fig4_solver", "acc_histogram", "reward_composition")
    workdir = run_folder(tmp_path / "tiny", steps=steps, finished=False)
    with (workdir / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 99, "propose/va')
    out = tmp_path / "elsewhere" / "page.html"
    assert main([str(workdir), f"--out={out}"]) == 0
    assert (out.parent / "figures" / "fig4_solver.png").is_file() == bool(steps)
    assert not (workdir / "figures").exists()
    content = out.read_text(encoding="utf-8")
    assert "not finished" in content and "No held-out scores yet" in content
    assert len(Page(content).island) == 6 * steps
    assert content.count("No data yet.") == (4 if steps == 0 else 1)


def test_several_runs_are_compared(tmp_path, one_figure):
    workdirs = [run_folder(tmp_path / name, steps=8) for name in ("first", "second")]
    out = tmp_path / "both" / "report.html"
    assert main([*map(str, workdirs), f"--out={out}"]) == 0
    assert {row["run"] for row in Page(out.read_text(encoding="utf-8")).island} == {"first", "second"}
    with (out.parent / "figures" / "fig4_solver.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert {line["curve"] for line in lines} >= {"deduction, first", "deduction, second"}
    assert {line["run"] for line in lines} == {"first", "second"}


def test_runs_that_differ_by_their_seed_are_one_arm_with_a_band(tmp_path):
    workdirs = [run_folder(tmp_path / f"racket-seed-{seed}", steps=8, seed=seed) for seed in range(3)]
    other = run_folder(tmp_path / "permuted", steps=8, reward__permute=True)
    arms = arms_of(runs.load_all([*workdirs, other]))
    assert [arm.label for arm in arms] == ["racket (3 seeds)", "permuted"]
    # A row of seed 1 that is higher and one of seed 2 that is lower, at step 8.
    for workdir, value in ((workdirs[1], 0.9), (workdirs[2], 0.1)):
        rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        rows[-1]["solve/deduction/accuracy"] = value
        (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (figure,) = [figure for figure in figures(arms_of(runs.load_all(workdirs))) if figure.name == "fig4_solver"]
    curve = figure.panels[0].curves[0]
    assert curve.runs == ("racket-seed-0", "racket-seed-1", "racket-seed-2")
    assert curve.mean()[-1] == (8, pytest.approx((0.2 + 0.9 + 0.1) / 3))
    assert curve.band()[-1] == (8, 0.1, 0.9) and curve.band()[0] == (1, 1 / 40, 1 / 40)


def test_runs_of_one_seed_stay_apart(tmp_path):
    workdirs = [run_folder(tmp_path / name, steps=1) for name in ("a-1", "a-2")]
    assert [arm.label for arm in arms_of(runs.load_all(workdirs))] == ["a-1", "a-2"]


def test_stacks_and_histograms_are_shares_of_all_responses(whole):
    by_name = {figure.name: figure for figure in figures(arms_of(runs.load_all([whole])))}
    proposer, solver = by_name["reward_composition"].panels
    at = {curve.label: dict(curve.mean())[20] for curve in (*proposer.curves, *solver.curves)}
    assert at["valid, 0 < acc < 1"] == pytest.approx(0.5 * 0.6) and at["not valid"] == 0.5
    assert at["right"] == 0.5 and at["formatted, not right"] == pytest.approx(0.4)
    assert at["not formatted"] == pytest.approx(0.1)
    histogram = by_name["acc_histogram"].panels[0]
    assert [curve.label for curve in histogram.curves] == [f"{k}/10" for k in range(10)]
    assert histogram.kind == "heat"
    time = {curve.label: dict(curve.mean())[3] for curve in by_name["time"].panels[0].curves}
    assert sum(time.values()) == 6.0 + 0.25  # the step and the save before it: no second is in two parts
    assert (time["prefill"], time["decode"], time["waiting"], time["update"]) == (0.5, 1.25, 0.5, 1.5)
    assert (time["sampling, the rest"], time["play, the rest"], time["the rest"]) == (0.25, 0.5, 1.0)


def test_languages_trained_together_have_a_figure_of_their_own(tmp_path, whole):
    workdir = run_folder(tmp_path / "two", languages=("racket", "lua"), language_weights=(1.0, 2.0))
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line |= {"solve/racket/accuracy": 0.5, "solve/lua/accuracy": 0.1, "propose/lua/valid": 0.2}
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    by_name = {figure.name: figure for figure in figures(arms_of([runs.load(workdir, "two")]))}
    assert [panel.title for panel in by_name["languages"].panels] == ["solver accuracy", "valid proposals"]
    assert [curve.label for curve in by_name["languages"].panels[0].curves] == ["lua", "racket"]
    assert "languages" not in {figure.name for figure in figures(arms_of([runs.load(whole, "tiny")]))}


def test_problems_beside_selfplay_have_panels_of_their_own(tmp_path, whole):
    workdir = run_folder(tmp_path / "tiny", problems__path="problems.jsonl")
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line |= {f"solve/problems/{key}": 0.25 for key in ("accuracy", "tests_passed", "formatted", "reward")}
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    titles, without = (
        {figure.name: [panel.title for panel in figure.panels] for figure in figures(arms_of([run]))}
        for run in (runs.load(workdir, "tiny"), runs.load(whole, "whole"))
    )
    for name, title in (("fig4_solver", "problems of problems.path"), ("rewards", "problems: mean reward")):
        assert title in titles[name] and title not in without[name]


def test_fourteen_outcomes_have_fourteen_looks_and_the_same_in_both_panels(tmp_path):
    workdir = run_folder(tmp_path / "tiny", steps=2)
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    names = [f"kind_{n}" for n in range(14)]
    for row in rows:
        row |= {f"{role}/outcome/{name}": 0.01 for role in ("propose", "solve") for name in names}
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (figure,) = [figure for figure in figures(arms_of([runs.load(workdir, "tiny")])) if figure.name == "outcomes"]
    looks = [{curve.label: (curve.color, curve.pattern) for curve in panel.curves} for panel in figure.panels]
    assert looks[0].keys() - {"valid"} == looks[1].keys() - {"correct"} == set(names)
    assert len(set(looks[0].values())) == 15
    assert all(looks[0][name] == looks[1][name] for name in names)


def test_induction_is_in_figure_3(whole):
    (figure,) = [figure for figure in figures(arms_of(runs.load_all([whole]))) if figure.name == "fig3_proposer"]
    assert [panel.title.partition(":")[0] for panel in figure.panels] == ["mean acc", *KINDS]
    assert [curve.label for curve in figure.panels[0].curves] == list(KINDS)


def test_the_overview_has_settings_command_commit_and_alerts(tmp_path, one_figure):
    workdir = run_folder(tmp_path / "tiny", steps=3, learner__lr=2e-3)
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    rows[1]["propose/valid"] = 0.0
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    started = {"command": "python -m azr_jax.main --workdir=runs/<i>", "commit": "0123456789ab"}
    (workdir / "start.json").write_text(json.dumps(started))
    write([workdir], tmp_path / "page.html")
    words = " ".join(Page((tmp_path / "page.html").read_text(encoding="utf-8")).text)
    assert "learning rate 0.002" in words and "96 prompts a step (6 x 16)" in words and "minibatches" in words
    assert "python -m azr_jax.main --workdir=runs/<i>" in words and "commit 0123456789ab" in words
    assert "step 2 0.0% of the proposals are valid" in " ".join(words.split())


def test_a_run_of_an_earlier_version_has_its_alerts_too(tmp_path, one_figure):
    workdir = run_folder(tmp_path / "tiny", steps=2)
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    rows[1]["propose/valid"] = 0.0
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = json.loads((workdir / "config.json").read_text())
    del config["learner"]["epochs"], config["monitoring"]
    (workdir / "config.json").write_text(json.dumps(config))
    write([workdir], tmp_path / "page.html")
    words = " ".join(Page((tmp_path / "page.html").read_text(encoding="utf-8")).text)
    assert "step 2 0.0% of the proposals are valid" in " ".join(words.split())


def test_format_reasons_are_a_table_by_step(tmp_path):
    workdir = run_folder(tmp_path / "tiny", steps=16)
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        row |= {"solve/outcome/no_answer": 0.25 if row["step"] > 8 else 0.5, "solve/outcome/timeout": 0.1}
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    section = reasons.section([runs.load(workdir, "tiny")])
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr.*?</tr>", section)]
    assert ["together, all", *["50.0"] * 4, *["25.0"] * 4] in cells and "1-2" in section and "timeout" not in section
    none = reasons.section([runs.load(run_folder(tmp_path / "other", steps=2), "other")])
    assert "No answer was refused for its format" in none


def test_seeding_is_a_table_and_its_transcripts_are_of_step_0(tmp_path, one_figure):
    workdir = run_folder(tmp_path / "seeded", steps=1, finished=False)
    metrics = {"propose/valid": 0.25, "propose/outcome/valid": 0.25, "propose/outcome/no_answer": 0.75}
    metrics |= {"sample/response_tokens": 64.0, "sample/length_capped": 0.5}
    rounds = [
        {"step": number, "metrics": metrics, "transcripts": [transcript(0, text="of seeding")]} for number in (1, 2)
    ]
    (workdir / "seeding.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in rounds))
    write([workdir], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert (
        "<h3>Seeding</h3>" in page
        and "<td>25%</td><td>64</td><td>50%</td><td>no &lt;answer&gt; follows &lt;/think&gt; 75%</td>" in page
    )
    assert page.count('"of seeding"') >= 2 and '"step": 0' in page.replace('"step":0', '"step": 0')


def test_the_running_mean_by_hand():
    assert running_mean([(1, 0.0), (2, 3.0), (3, 6.0)]) == [(1, 1.5), (2, 3.0), (3, 4.5)]


def test_the_papers_tables_stand_beside_the_runs_own_numbers(tmp_path):
    scores = {"pass_at_1": 0.5, "low": 0.4, "high": 0.6, "problems": 161.0}
    workdirs = []
    for seed, reward in ((0, "eq4"), (1, "eq4"), (0, "adaptive")):
        workdir = run_folder(tmp_path / f"{reward}-{seed}", 2, seed=seed, reward__proposer=reward)
        after = {f"eval/humaneval/racket/{key}": value + (0.02 if seed else 0) for key, value in scores.items()}
        before = {"eval/humaneval/racket/pass_at_1": 0.1, **{f"eval/humaneval/racket/{key}": 0.1 for key in scores}}
        written = summary() | {"benchmarks_after": after, "benchmarks_before": before}
        (workdir / "summary.json").write_text(json.dumps(written))
        workdirs.append(workdir)
    section = paper.section(arms_of(runs.load_all(workdirs)))
    rows = re.findall(r"<tr class=.(?:paper|run).>.*?</tr>", section)
    cells = [[re.sub("<[^>]*>", "", cell).strip() for cell in re.findall("<td.*?</td>", row)] for row in rows]
    assert ["Racket", "paper", "50.1", "64.6", "39.0", "68.3"] in cells
    assert ["Julia", "paper", "38.4", "50.3", "39.5", "61.8"] in cells
    assert ["JavaScript", "paper", "54.0", "70.8", "54.2", "60.0"] in cells
    assert ["Python (HumanEval+, MBPP+)", "paper", "67.1", "71.3", "65.9", "69.0"] in cells
    assert ["Eq. 3 to step 64, then Eq. 4 (combined)", "paper Racket", "66.5", "72.5"] in cells
    assert ["Eq. 4 (revised) from the start", "paper Racket", "41.6", "60.5"] in cells
    assert ["Eq. 3 (original)", "paper Racket", "64.6", "68.3"] in cells
    own = [row for row in cells if row[1].startswith("run")]
    assert [row[2:] for row in own] == [
        ["10.0 (10.0-10.0, n=0)", "51.0 (50.0-52.0, n=161)", "-", "-"],
        ["10.0 (10.0-10.0, n=0)", "50.0 (40.0-60.0, n=161)", "-", "-"],
        ["51.0 (50.0-52.0, n=161)", "-"],
        ["50.0 (40.0-60.0, n=161)", "-"],
    ]
    assert own[0][1].startswith("run eq4 (2 seeds); prompts completion -&gt; chat, step 30, model azr_jax/embedded")
    assert own[0][1].endswith("seed 0, 1, not finished") and own[1][1].endswith("seed 0, not finished")
    assert own[3][0] == "Eq. 3 to Eq. 4 by solver accuracy"


@pytest.mark.ci
def test_pass_at_k_before_and_after_is_a_table_and_a_figure(tmp_path):
    workdir = run_folder(tmp_path / "tiny", 2)
    how = {"prompt": "chat", "problems": 161, "samples": 8, "temperature": 0.8}
    scores = {
        f"pass_at_k_{when}": {"eval/humaneval/racket": {**how, "pass_at_k": {"1": [m, m - 0.05, m + 0.05], "8": last}}}
        for when, m, last in (("before", 0.2, [0.5, 0.4, 0.6]), ("after", 0.3, [0.52, 0.42, 0.62]))
    }
    (workdir / "summary.json").write_text(json.dumps(summary() | scores))
    arms = arms_of(runs.load_all([workdir]))
    cells = re.findall("<td>([^<]*)</td>", sampled.section(arms))
    own = ["chat", "161", "8", "0.8"]
    assert cells[:18] == [
        *("tiny", "humaneval/racket", "before", *own, "20.0 (15.0-25.0)", "50.0 (40.0-60.0)"),
        *("tiny", "humaneval/racket", "after", *own, "30.0 (25.0-35.0)", "52.0 (42.0-62.0)"),
    ]
    (figure,) = sampled.figures(arms)
    (panel,) = figure.panels
    assert [(curve.label, curve.series, curve.interval[0]) for curve in panel.curves] == [
        ("before", (((1.0, 0.2), (8.0, 0.5)),), (1.0, pytest.approx(0.15), 0.25)),
        ("after", (((1.0, 0.3), (8.0, 0.52)),), (1.0, 0.25, pytest.approx(0.35))),
    ]
    assert main([str(workdir)]) == 0
    assert (workdir / "figures" / "fig_pass_at_k.csv").read_text().startswith("panel,curve,run,k,value")
    assert 'id="pass_at_k"' in (workdir / "report.html").read_text()
    assert sampled.section([]) == "" and sampled.figures([]) == []


def test_the_papers_tables_show_how_far_a_run_came_that_still_goes_on(tmp_path):
    workdir = run_folder(tmp_path / "tiny", steps=3, finished=False)
    scores = {"pass_at_1": 0.25, "low": 0.2, "high": 0.3, "problems": 161.0}
    with (workdir / "metrics.jsonl").open("a") as stream:
        row = {f"eval/humaneval/racket/{key}": value for key, value in scores.items()}
        stream.write(json.dumps({"step": 4, **row}) + "\n" + json.dumps({"step": 5}) + "\n")
    section = paper.section(arms_of(runs.load_all([workdir])))
    assert "25.0 (20.0-30.0, n=161)" in section and "step 4, model" in section


def test_many_transcripts_are_thinned_within_every_task_and_step(tmp_path, monkeypatch):
    workdir = run_folder(tmp_path / "tiny", steps=20)
    monkeypatch.setattr(transcripts, "MAX_TRANSCRIPTS", 40)
    sample = transcripts.sample(runs.load_all([workdir]))
    assert sample.total == 120 and len(sample.rows) <= 42
    assert {(row["role"], row["type"]) for row in sample.rows} == {(r, k) for r in ("propose", "solve") for k in KINDS}
    assert max(sample.steps) > 16 and min(sample.steps) == 1
    monkeypatch.setattr(transcripts, "MAX_TRANSCRIPTS", 1000)
    monkeypatch.setattr(transcripts, "MAX_BYTES", (workdir / "transcripts.jsonl").stat().st_size // 4)
    assert max(transcripts.sample(runs.load_all([workdir])).steps) == 17


def test_what_is_no_run_or_damaged_is_named(tmp_path):
    assert main([str(tmp_path)]) == 1
    with pytest.raises(ValueError, match="gs:/bucket/run: in a bucket; copy the run here first"):
        write([pathlib.Path("gs://bucket/run")], tmp_path / "r.html")
    with pytest.raises(ValueError, match="not a run of azr_jax"):
        write([tmp_path], tmp_path / "r.html")
    workdir = run_folder(tmp_path / "tiny", steps=1)
    (workdir / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: damaged"):
        write([workdir], tmp_path / "r.html")
    (workdir / "metrics.jsonl").unlink()
    for row, lacking in (('{"step": 1}', "metrics"), ('{"step": 1, "metrics": {}, "transcripts": 3}', "transcripts")):
        (workdir / "seeding.jsonl").write_text(row + "\n")
        with pytest.raises(ValueError, match=rf"seeding\.jsonl, line 1: damaged \(no `{lacking}`\)"):
            write([workdir], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_the_summary_for_the_terminal(whole):
    (whole / "checkpoints" / "30").mkdir(parents=True, exist_ok=True)
    (whole / "checkpoints" / "5").mkdir(exist_ok=True)
    text = summary_text(str(whole))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    (deduction, *_) = [line for line in lines if line.startswith("deduction")]
    assert deduction.split() == (
        "deduction 100 40.0 (30.9-49.8) 60.0 (50.2-69.1) +20.0 80.0 -> 80.0 50.0 -> 75.0".split()
    )
    assert sum(line.startswith("all") for line in lines) == 2
    assert f"{whole}/checkpoints/30" in text and f"{whole}/report.html" in text and "export" not in text


def test_a_summary_without_heldout_problems(tmp_path):
    workdir = run_folder(tmp_path / "tiny", steps=1, finished=False)
    assert "No held-out problems were scored" in summary_text(workdir)


def test_an_island_can_hold_any_text():
    island = markup.data_island("x", [EVIL, "]]>", "\x00"])
    (only,) = Page(island).scripts
    assert json.loads(only[1]) == [EVIL, "]]>", "\x00"]
