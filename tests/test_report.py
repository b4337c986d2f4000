"""The report: complete from a whole run, usable from a part of one, and no text of a model is ever markup."""

import base64
import csv
import hashlib
import html.parser
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree

import pytest

from azr_jax.config import MetricsSettings, from_mapping
from azr_jax.metrics import Writers
from azr_jax.report import page, runs, summary_text, write
from azr_jax.report.__main__ import main
from configs import tiny

KINDS = ("deduction", "abduction", "induction")
EVIL = "</script><script>alert('pwned')</script><img src=x onerror=alert(1)>\"'&\u202e\ud800\u2028<!--<script>"
FIGURES = ("fig2_score", "fig3_proposer", "fig4_solver", "rewards", "entropy", "outcomes", "buffers", "time")


def step_metrics(step: int) -> dict[str, float]:
    share = step / 40
    metrics = {"propose/valid": 0.5, "propose/reward": -0.2, "solve/reward": share, "ppo/entropy": 1.0 - share}
    metrics |= {"time/step_s": 4.0, "time/sampling_s": 2.0, "time/waiting_s": 0.5, "ppo/grad_norm": 0.7}
    metrics |= {
        "propose/outcome/valid": 0.5,
        "solve/outcome/correct": share,
        "buffer/racket/triplets_size": 64.0 + step,
    }
    for kind in KINDS:
        metrics |= {f"solve/{kind}/accuracy": share, f"solve/{kind}/accuracy_formatted": share}
        metrics |= {f"propose/{kind}/acc": 0.4, f"propose/{kind}/acc_zero": 0.3, f"propose/{kind}/acc_one": 0.1}
        metrics |= {f"propose/{kind}/acc_between": 0.6, f"propose/{kind}/reward": 0.1}
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


def run_folder(path, steps: int = 30, finished: bool = True, text: str = "1 < 2"):
    path.mkdir(parents=True)
    config = from_mapping(tiny.get_config().to_dict())
    (path / "config.json").write_text(config.to_json())
    settings = MetricsSettings(tensorboard=False, wandb=False, wandb_project="", transcripts_per_step=6)
    with Writers(path, settings, "{}") as out:
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run with hostile transcripts, its report written."""
    workdir = run_folder(tmp_path_factory.mktemp("runs") / "tiny", text=EVIL)
    write([workdir], workdir / "report.html")
    return workdir


def test_the_page_has_every_figure_and_the_files_beside_it(whole):
    content = (whole / "report.html").read_text(encoding="utf-8")
    ids = {attributes.get("id") for tag, attributes in Page(content).elements if tag == "figure"}
    assert ids == set(FIGURES)
    drawings = re.findall(r"<svg.*?</svg>", content, flags=re.DOTALL)
    assert len(drawings) == len(FIGURES)
    for drawing in drawings:
        root = xml.etree.ElementTree.fromstring(drawing)
        assert len(root.findall(".//{http://www.w3.org/2000/svg}path")) > 10
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
    found = Page(content)
    assert found.island[0]["response"] == EVIL and found.island[0]["prompt"] == f"prompt {EVIL}"
    assert len(found.island) == 30 * 6
    assert [attributes.get("id") for attributes, _ in found.scripts] == ["transcripts", None]
    assert not any(name.startswith("on") for _, attributes in found.elements for name in attributes)
    assert "alert(" not in "".join(found.text) and "\u202e" not in content and "<img" not in content
    script = found.scripts[-1][1]
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("):
        assert forbidden not in script


def test_the_policy_allows_this_script_alone_and_nothing_is_fetched(whole):
    found = Page((whole / "report.html").read_text(encoding="utf-8"))
    (policy,) = [attributes["content"] for tag, attributes in found.elements if attributes.get("http-equiv")]
    digest = base64.b64encode(hashlib.sha256(found.scripts[-1][1].encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy
    for tag, attributes in found.elements:
        assert tag not in ("link", "img", "iframe", "object", "base")
        assert "src" not in attributes
        assert attributes.get("href", attributes.get("xlink:href", "#")).startswith("#")


def test_a_hostile_name_of_a_run_is_text(tmp_path):
    workdir = run_folder(tmp_path / "<b onclick=x> $\\frac{1}{0}$", steps=2)
    out = tmp_path / "r.html"
    write([workdir, run_folder(tmp_path / "other", steps=2)], out)
    found = Page(out.read_text(encoding="utf-8"))
    assert not any(tag == "b" for tag, _ in found.elements)
    assert any("<b onclick=x>" in text for text in found.text)


@pytest.mark.parametrize("steps", [0, 1])
def test_a_run_that_has_just_begun(tmp_path, steps):
    workdir = run_folder(tmp_path / "tiny", steps=steps, finished=False)
    with (workdir / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 99, "propose/va')
    assert main([str(workdir)]) == 0
    content = (workdir / "report.html").read_text(encoding="utf-8")
    assert "not finished" in content and "No held-out scores yet" in content
    assert len(Page(content).island) == 6 * steps
    assert content.count("No data yet.") == (8 if steps == 0 else 1)


def test_several_runs_are_compared(tmp_path):
    workdirs = [run_folder(tmp_path / name, steps=8) for name in ("first", "second")]
    out = tmp_path / "both" / "report.html"
    assert main([*map(str, workdirs), f"--out={out}"]) == 0
    assert {each["run"] for each in Page(out.read_text(encoding="utf-8")).island} == {"first", "second"}
    with (out.parent / "figures" / "fig4_solver.csv").open(newline="") as stream:
        assert {line["curve"] for line in csv.DictReader(stream)} >= {"deduction, first", "deduction, second"}


def test_many_transcripts_are_thinned_within_every_task(tmp_path, monkeypatch):
    workdir = run_folder(tmp_path / "tiny", steps=20)
    monkeypatch.setattr(runs, "MAX_TRANSCRIPTS", 40)
    kept, total = runs.transcripts(runs.load_all([workdir]))
    assert total == 120 and len(kept) <= 42
    assert {(one["role"], one["type"]) for one in kept} == {(r, k) for r in ("propose", "solve") for k in KINDS}
    assert max(one["step"] for one in kept) > 16 and min(one["step"] for one in kept) == 1


def test_what_is_no_run_or_damaged_is_named(tmp_path):
    assert main([str(tmp_path)]) == 1
    with pytest.raises(ValueError, match="not a run of azr_jax"):
        write([tmp_path], tmp_path / "r.html")
    workdir = run_folder(tmp_path / "tiny", steps=1)
    (workdir / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: damaged"):
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
    island = page.data_island("x", [EVIL, "]]>", "\x00"])
    (only,) = Page(island).scripts
    assert json.loads(only[1]) == [EVIL, "]]>", "\x00"]


# The little of a browser's document that the script uses, and a user's steps; prints what is then to be seen.
DOCUMENT = """
class Element {
  constructor(tag) { Object.assign(this, { tag, children: [], value: "", hidden: false, on: {}, textContent: "" }); }
  append(...made) { this.children.push(...made); }
  replaceChildren() { this.children = []; }
  get childElementCount() { return this.children.length; }
  addEventListener(name, act) { this.on[name] = act; }
}
const byId = {};
const getElementById = (id) => (byId[id] ??= new Element(id));
globalThis.document = { createElement: (tag) => new Element(tag), getElementById };
globalThis.setTimeout = (act) => act();
byId.transcripts = new Element("script");
byId.transcripts.textContent = require("fs").readFileSync(0, "utf8");
require(process.argv[1]);
const heads = () => byId.list.children.map((one) => one.children[0].textContent);
const steps = byId["filter-step"].children.map((one) => one.value);
const seen = { first: heads(), count: byId.count.textContent, steps };
byId.more.on.click();
seen.more = heads().length;
byId["filter-step"].value = "2"; byId["filter-task"].value = "solve induction"; byId["filter-step"].on.change();
seen.filtered = heads();
const card = byId.list.children[0]; card.open = true; card.on.toggle(); card.on.toggle();
seen.opened = card.children.map((one) => one.textContent);
byId["filter-step"].value = ""; byId["filter-task"].value = "";
byId.search.value = "17/PROPOSE"; byId.search.on.input();
seen.found = heads().length;
console.log(JSON.stringify(seen));
"""


def test_the_script_filters_searches_and_pages(whole):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    rows = Page((whole / "report.html").read_text(encoding="utf-8")).island
    command = [node, "-e", DOCUMENT, str(page._SCRIPT)]
    done = subprocess.run(command, input=json.dumps(rows), capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    assert len(seen["first"]) == 20 and seen["count"] == "20 of 180 shown" and seen["more"] == 40
    assert seen["steps"] == [str(step) for step in range(1, 31)]
    assert seen["filtered"] == ["step 2  ·  solve induction  ·  racket  ·  correct  ·  reward 1.00"]
    shown = EVIL.replace("\u202e", "[U+202E]").replace("\u2028", "[U+2028]")
    assert [text.encode("utf-8", "replace") for text in seen["opened"][1:]] == [
        text.encode("utf-8", "replace")
        for text in ("2/solve/induction/0: prompt", f"prompt {shown}", "response, ended by eos", shown)
    ]
    assert seen["found"] == 3


def test_a_browser_shows_transcripts_as_text(whole):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on PATH")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    done = subprocess.run([*command, f"file://{whole}/report.html"], capture_output=True, text=True, timeout=120)
    assert "20 of 180 shown" in done.stdout and done.stdout.count("<details") == 20
    assert "CONSOLE" not in done.stderr
