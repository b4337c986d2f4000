"""README and docs name what exists: files, links, commands, flags, settings, metrics; generated pages are current."""

from __future__ import annotations

import functools
import importlib.util
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

from azr_jax.__main__ import COMMANDS
from azr_jax.flags import built_in_configurations
from azr_jax.report import curriculum
from configs import base

ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = [*ROOT_PAGES, *sorted(path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "docs").rglob("*.md"))]
ROOMS = "azr_jax|configs|executors|tests|tpu_scripts|docs"
# Files that a page tells its reader to make.
MADE_BY_THE_READER = {
    "configs/prefix.py",
    "executors/prefix.py",
    "executors/languages/prefix",
    "tests/executors/conformance/prefix.py",
    "my.conf",
    "mine.py",
}
# A page of the time before a change of names.
HISTORY = {"CHANGELOG.md"}


def keys_of(mapping: dict, prefix: str = "") -> set[str]:
    keys = set()
    for name, value in mapping.items():
        keys |= {prefix + name} | (keys_of(value, f"{prefix}{name}.") if isinstance(value, dict) else set())
    return keys


KEYS = keys_of(base.get_config().to_dict())
SECTIONS = {key for key in KEYS if any(other.startswith(f"{key}.") for other in KEYS)}


def read(page: str) -> str:
    return (REPOSITORY / page).read_text()


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if re.match(r"https?:", target):
            continue
        file, _, anchor = target.partition("#")
        place = (REPOSITORY / page).parent / file if file else REPOSITORY / page
        assert place.exists(), target
        if anchor:
            assert anchor in {slug(heading) for heading in re.findall(r"^#+ (.*)$", place.read_text(), re.M)}, target


@pytest.mark.parametrize("page", [page for page in PAGES if page not in HISTORY])
def test_every_path_exists(page):
    for path in re.findall(rf"(?<![\w./-])(?:{ROOMS})/[\w./*-]*[\w/*]", read(page)):
        if re.search(r"\b[A-Z]{3,}\b", path) or any(path.startswith(name) for name in MADE_BY_THE_READER):
            continue
        assert any(REPOSITORY.glob(path.rstrip("/"))), path


def commands(page: str) -> list[list[str]]:
    """The words of each `azr-jax ...` and `python -m ...` on a page, lines that go on joined."""
    text = re.sub(r"\\\n\s*", " ", read(page))
    lines = re.findall(r"(?:azr-jax (?!\.)|python -m )[^\n`#|&]*", text)
    return [line.split() for line in lines]


@functools.cache
def help_of(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command, "--help"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def named(words: list[str]) -> tuple[str, list[str]] | None:
    """The module that a documented command runs, and the words behind it; None of another project's command."""
    if words[0] == "azr-jax":
        name = words[1] if len(words) > 1 else "COMMAND"
        if not name.islower():
            return None
        assert name in COMMANDS or name.startswith("-"), words
        module, before, _ = COMMANDS.get(name, ("azr_jax", (), ""))
        return module, [*before, *words[2:]]
    module = words[2].rstrip(".,;:)")
    return (module, words[3:]) if module.split(".")[0] in ("azr_jax", "executors") else None


def subcommand_of(module: str, rest: list[str]) -> str:
    """The subcommand, or an empty text."""
    if module not in ("executors", "azr_jax.evaluation", "azr_jax.checkpoint", "azr_jax.speed") or not rest:
        return ""
    if module == "azr_jax.evaluation" and rest[0].startswith("-"):
        return "run"
    return rest[0] if re.fullmatch(r"[a-z]+", rest[0]) else ""


@pytest.mark.parametrize("page", [page for page in PAGES if page not in HISTORY])
def test_every_command_and_flag_exists(page):
    for words in commands(page):
        if (command := named(words)) is None:
            continue
        module, rest = command
        assert importlib.util.find_spec(module), words
        subcommand = [subcommand_of(module, rest)] if subcommand_of(module, rest) else []
        text = help_of(module, *subcommand)
        for word in rest:
            flag = re.match(r"\[?(--[\w.-]+)=?(.*)", word)
            if flag is None or flag[1] == "--help":
                continue
            name, value = flag[1], flag[2].rstrip("]")
            if name.startswith(("--config.", "--study.")):
                assert name.startswith("--study.") or name.removeprefix("--config.") in KEYS | {"KEY"}, words
            elif name in ("--config", "--study") and re.fullmatch(r"[\w/]+(\.py)?", value):
                known = value.removeprefix("configs/").removesuffix(".py") in built_in_configurations()
                assert known or value in MADE_BY_THE_READER or value.isupper(), words
            else:
                assert name in text or f"--[no]{name[2:]}" in text, (words, name)


@pytest.mark.parametrize("page", [page for page in PAGES if page not in HISTORY])
def test_every_setting_exists(page):
    sections = "|".join(sorted(name for name in SECTIONS if "." not in name))
    for key in re.findall(rf"`(?:config\.)?((?:{sections})\.[a-z_]+)(?:=[^`]*)?`", read(page)):
        assert key in KEYS or key.endswith((".py", ".json", ".jsonl", "_")), key


def test_the_configuration_page_is_current():
    page = runpy.run_path(str(REPOSITORY / "docs" / "generate_configuration.py"))["page"]()
    assert read("docs/configuration.md") == page, "run: python docs/generate_configuration.py"


def test_every_setting_says_what_it_does():
    rows = [row.split("|") for row in re.findall(r"^\| `[a-z_.]+` \|.*$", read("docs/configuration.md"), re.M)]
    assert len(rows) > 100
    assert [row[1] for row in rows if len(row) == 7 and not row[5].strip()] == []


def metric_patterns() -> list[re.Pattern[str]]:
    """The keys in the first column of docs/metrics.md, as patterns."""
    rows = re.findall(r"^\| (`[^|]+) \|", read("docs/metrics.md"), re.M)
    keys = [key for row in rows for key in re.findall(r"`([^`]+)`", row)]
    names = {"TYPE": "(deduction|abduction|induction)", "ROLE": "(propose|solve)", "NAME": r"[\w/]+"}
    names |= {"LANGUAGE": r"\w+", "MODE": "(greedy|sampled)", "BENCHMARK": r"\w+", "K_of_M": r"\d+_of_\d+"}
    patterns = []
    for key in keys:
        pattern = key.replace("[TYPE/]", "((deduction|abduction|induction)/)?")
        for name, expression in names.items():
            pattern = pattern.replace(name, expression)
        patterns.append(re.compile(pattern))
    return patterns


def undocumented(keys: set[str]) -> set[str]:
    """The metrics that docs/metrics.md does not name."""
    patterns = metric_patterns()
    return {key for key in keys if not any(pattern.fullmatch(key) for pattern in patterns)}


def test_a_metric_that_is_not_on_its_page_is_noticed():
    assert undocumented({"propose/acc", "propose/induction/acc", "ppo/nothing"}) == {"ppo/nothing"}
    assert len(metric_patterns()) > 80


def test_the_metrics_of_programs_that_the_report_draws_are_on_their_page():
    keys = {f"propose/racket/program/{key}" for _, key, _ in curriculum._PROGRAM}
    assert "propose/racket/program/constant" in keys and undocumented(keys) == set()


def test_every_root_file_of_a_project_is_there():
    assert "Apache License" in read("LICENSE") and "The azr_jax authors" in read("LICENSE")
    assert "cff-version" in read("CITATION.cff")
    assert Path(REPOSITORY / "docs" / "index.md").exists()
