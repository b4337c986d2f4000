"""The page in a real browser: no complaint on its console, filters that work, text of a model that never runs."""

import json

import pytest
from browser import find, started
from run_folders import EVIL, FIGURES, row, run_folder

from azr_jax.report import write

SHOWN = EVIL.replace("\u202e", "[U+202E]").replace("\u2028", "[U+2028]").replace("\ud800", "\ufffd")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    command = find()
    if command is None:
        pytest.skip("no browser; tpu_scripts/install_interpreters.sh browser installs one")
    with started(command, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def opened(browser, whole):
    """The page of a run whose transcripts are hostile, open."""
    browser.open(whole / "report.html")
    return browser


def choose(browser, **values):
    """Sets the named controls, all others to nothing, and gives what is then shown."""
    browser.run(
        """(async (values) => {
          for (const control of document.querySelectorAll('.filters select, #search')) {
            control.value = values[control.id] ?? '';
            control.dispatchEvent(new Event(control.id === 'search' ? 'input' : 'change'));
          }
          await new Promise((done) => setTimeout(done, 400));
        })(VALUES)""".replace("VALUES", json.dumps({name.replace("_", "-"): value for name, value in values.items()}))
    )
    return browser.run("[...document.querySelectorAll('#list summary')].map((summary) => summary.innerText)")


def test_the_page_loads_without_a_complaint_and_every_figure_is_seen(opened):
    assert opened.complaints == []
    sizes = opened.run("[...document.querySelectorAll('figure svg')].map((svg) => svg.getBoundingClientRect().height)")
    assert len(sizes) > 2 * len(FIGURES) and min(sizes) > 100
    assert opened.run("document.querySelector('h1').textContent") == "tiny <b>bold"


def test_filters_search_order_and_pages(opened):
    assert len(choose(opened)) == 25
    assert opened.run("document.getElementById('count').textContent") == "25 of 180 shown"
    opened.run("document.getElementById('more').click()")
    assert opened.run("document.querySelectorAll('#list details').length") == 50
    (only,) = choose(opened, filter_step="2", filter_role="solve", filter_type="induction")
    assert only.split("\n")[:4] == ["step 2", "solve induction", "\u2713 correct", "reward 1.00"]
    assert len(choose(opened, filter_step="3")) == 6
    assert len(choose(opened, search="11/PROPOSE")) == 3
    assert choose(opened, search="no such words") == []
    assert opened.run("document.getElementById('count').textContent") == "0 of 0 shown"
    assert choose(opened, order="newest")[0].startswith("step 30")


def test_text_of_a_model_shows_as_text_and_never_runs(opened):
    choose(opened, filter_step="4")
    shown = opened.run(
        """(async () => {
          const card = document.querySelector('#list details');
          card.open = true;
          await new Promise((done) => setTimeout(done, 200));
          return [...card.querySelectorAll('pre')].map((pre) => pre.textContent);
        })()"""
    )
    assert [text.encode("utf-8", "replace").decode().replace("?", "\ufffd") for text in shown] == [
        f"prompt {SHOWN}",
        SHOWN,
    ]
    assert opened.run("document.querySelectorAll('#list img, #list script, #list pre *').length") == 0
    # The policy stands behind it: a script that got in would not run.
    opened.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    assert opened.run("window.ran ?? 0") == 0
    assert [text for text in opened.complaints if "ontent Security Policy" not in text] == []
    opened.complaints.clear()


def test_the_values_under_the_pointer_are_the_metrics(opened):
    opened.size(1280, 900)
    box = opened.run(
        """(() => {
          const plot = document.querySelector('#fig4_solver .plot');
          plot.scrollIntoView({block: 'center', behavior: 'instant'});
          const area = plot.getBoundingClientRect();
          const place = JSON.parse(document.getElementById('places').textContent).fig4_solver[0];
          const [left, , right, bottom] = place.box;
          const share = (8 - place.steps[0]) / (place.steps[1] - place.steps[0]);
          return [area.left + area.width * (left + share * (right - left)), area.top + area.height * (bottom - 0.1)];
        })()"""
    )
    opened.move(*box)
    tip = opened.run("document.querySelector('#fig4_solver .tip').innerText").split("\n")
    assert tip[0] == "step 8" and " ".join(tip).count("20.0%") == 3
    assert opened.complaints == []


def test_a_narrow_window_needs_no_sideways_scrolling(opened):
    opened.size(420, 800)
    assert opened.run("document.documentElement.scrollWidth") <= 420
    opened.size(1280, 900)


def test_on_a_narrow_screen_figures_fit_and_the_navigation_folds(opened):
    opened.size(420, 900)
    wide = "document.documentElement.scrollWidth"
    plots = "[...document.querySelectorAll('.plot svg')].map((svg) => svg.getBoundingClientRect())"
    assert opened.run(wide) <= 420
    boxes = opened.run(f"{plots}.map((box) => box.toJSON())")
    assert all(0 <= box["left"] and box["right"] <= 420 and box["width"] > 250 for box in boxes)
    links = "document.querySelector('nav a').getBoundingClientRect().height"
    assert opened.run(links) == 0
    opened.run("document.querySelector('nav label').click()")
    assert opened.run(links) > 0
    opened.run("document.querySelector('nav label').click()")
    opened.size(1280, 900)
    assert opened.run(links) > 0
    assert opened.run("getComputedStyle(document.querySelector('nav label')).display") == "none"


def test_a_dark_page_has_light_text_and_drawings(opened):
    def colors(scheme):
        opened.scheme(scheme)
        return opened.run(
            """(() => {
              const style = (name) => getComputedStyle(document.querySelector(name));
              const shades = [style('body').color, style('.card').backgroundColor, style('nav').backgroundColor];
              const numbers = shades.map((shade) => shade.match(/[0-9]+/g).slice(0, 3).map(Number));
              return [...numbers, style('.plot svg').filter];
            })()"""
        )

    text, card, nav, drawing = colors("dark")
    assert min(text) > 200 and max(card) < 64 and max(nav) < 64 and drawing.startswith("invert")
    text, card, nav, drawing = colors("light")
    assert max(text) < 64 and min(card) > 200 and min(nav) > 200 and drawing == "none"


def test_a_search_word_is_marked(opened):
    choose(opened, search="pwned", filter_step="5", filter_role="solve", filter_type="deduction")
    marks = opened.run(
        """(async () => {
          document.querySelector('#list details').open = true;
          await new Promise((done) => setTimeout(done, 200));
          return [...document.querySelectorAll('#list mark')].map((mark) => mark.textContent);
        })()"""
    )
    assert marks == ["pwned", "pwned"]


@pytest.mark.slow
def test_a_run_of_500_steps_and_384_responses_each_stays_responsive(browser, tmp_path):
    """192,000 transcripts: the page holds an even sample, opens in seconds and filters at once."""
    workdir = run_folder(tmp_path / "long", steps=500)
    text = "(define (f x)\n  (+ x 1))\n" * 30
    with (workdir / "transcripts.jsonl").open("w") as stream:
        for step in range(1, 501):
            for number in range(64):
                for role in ("propose", "solve"):
                    for kind in ("deduction", "abduction", "induction"):
                        fields = row(step, role, kind, text) | {"task_id": f"{step}/{role}/{kind}/{number}"}
                        stream.write(json.dumps({"step": step, **fields}) + "\n")
    write([workdir], workdir / "report.html")
    assert (workdir / "report.html").stat().st_size < 40e6
    browser.open(workdir / "report.html")
    assert browser.run("document.getElementById('filter-step').options.length") > 400
    load_ms = browser.run("performance.timing.loadEventEnd - performance.timing.navigationStart")
    filter_ms = browser.run(
        """(() => {
          const start = performance.now();
          const filter = document.getElementById('filter-type');
          filter.value = 'induction';
          filter.dispatchEvent(new Event('change'));
          return performance.now() - start;
        })()"""
    )
    search_ms = browser.run(
        """(async () => {
          const start = performance.now();
          const search = document.getElementById('search');
          search.value = 'no such words';
          search.dispatchEvent(new Event('input'));
          const count = document.getElementById('count');
          while (count.textContent !== '0 of 0 shown') await new Promise((done) => setTimeout(done, 5));
          return performance.now() - start - 150;
        })()"""
    )
    assert load_ms < 10_000 and filter_ms < 500 and search_ms < 1000, (load_ms, filter_ms, search_ms)
    assert browser.complaints == []
