"""The page's section on contamination: which of a run's training items resemble benchmark problems."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from azr_jax.config import located
from azr_jax.evaluation.languages.known import known_languages
from azr_jax.evaluation.problems import files, records
from azr_jax.evaluation.problems.records import AnyProblem
from azr_jax.report import overlaps
from azr_jax.report.arms import Arm
from azr_jax.report.markup import text, visible
from azr_jax.report.overlaps import Findings, Item, Match
from azr_jax.report.runs import RunData, saved_buffers

_SHOWN = 50
# The benchmarks with a file for each language.
_OWN = (*files.BENCHMARKS, files.MCEVAL)


def section(arms: Sequence[Arm], data_dir: str) -> str:
    """The section. `data_dir` is a folder of benchmark files; empty: the run's own, or AZR_JAX_DATA.

    Without such a folder: what the hub's cache has of the benchmarks that the run is scored on.

    Raises:
      FileNotFoundError: `data_dir` has no benchmark in the languages of a run, with how to get it.
      ValueError: none there can be read, or a damaged save.
    """
    parts = [_of_run(run, data_dir) for arm in arms for run in arm.runs]
    return (
        '<section id="contamination" class="card"><h2>Contamination</h2><p class="note">Training items that resemble'
        f" benchmark problems. The largest overlap of {overlaps.N}-grams of tokens, as a share of those of the"
        f" shorter text; a match from {overlaps.THRESHOLD:.0%} on. Texts are normalised first: NFKC, case folded;"
        " comment and doctest marks, quotes, brackets and commas dropped; the problem's function called f. Compared:"
        " programs and messages with prompts, and with reference solutions if the data has them (EvalPlus, McEval)."
        f" Renamed variables and translations are not found.</p>{''.join(parts)}</section>"
    )


def _of_run(run: RunData, data_dir: str) -> str:
    heading = f"<h3>{text(run.name)}</h3>"
    directory = (
        data_dir or run.config.get("evaluation", {}).get("benchmark_data") or os.environ.get(files.DATA_VARIABLE)
    )
    try:
        checked = _check(run, Path(directory) if directory else None)
    except (OSError, ValueError) as error:
        if data_dir:
            raise
        return f"{heading}<p class='note'>Not checked: {text(visible(str(error)))}</p>"
    if isinstance(checked, str):
        return f"{heading}<p class='note'>Not checked: {text(checked)}</p>"
    step, names, beside, findings = checked
    short = f", {findings.short_items} of them too short to compare" if findings.short_items else ""
    share = f"{findings.matching_items} of {findings.items} items match"
    chip = "bad" if findings.matches else "good"
    closest = findings.nearest[:1]
    nearest = f" Largest overlap below: {closest[0].overlap:.0%}." if closest else ""
    return (
        f'{heading}<p><span class="chip {chip}">{text(share)}</span></p>'
        f'<p class="note">The {findings.items} triplets and'
        f" induction problems that the buffers keep at step {step}{text(visible(beside))}{short}, against"
        f" {findings.problems} problems ({text(visible(', '.join(names)))}).{nearest}</p>{_rows(findings)}"
    )


def _check(run: RunData, directory: Path | None) -> tuple[int, list[str], str, Findings] | str:
    """(step, benchmark files with their sizes, what is compared besides the buffers, findings), or why nothing is."""
    scored = run.config.get("evaluation", {}).get("benchmarks") or ()
    unchecked = "name a folder of benchmark files by --data_dir or AZR_JAX_DATA."
    if directory is None and not scored:
        return unchecked
    saved = saved_buffers(run.workdir)
    if saved is None:
        return "the run has no save with buffers"
    step, buffers = saved
    directory_of_languages = run.config.get("language_directory") or ""
    known = known_languages(directory_of_languages)
    read = _Benchmarks()
    items: list[Item] = []
    absent = []
    labels: dict[Path | None, str] = {}
    for language, buffer in buffers.items():
        if language not in known:
            absent.append(f"no benchmark is in {language}")
            continue
        if directory is None:
            sources = {name: files.find_cached(name, known[language]) for name in scored}
        else:
            sources = {name: files.find(directory, name, known[language]) for name in files.ALL_BENCHMARKS}
        # A file of the hub's cache is called by its revision or its part.
        labels |= {source: source.name if directory and source else name for name, source in sources.items()}
        if read.add(filter(None, sources.values()), known[language].suffix):
            items += _items(buffer)
        if not any(sources.get(name) for name in _OWN):
            absent.append(files.missing(_OWN[0], known[language]))
    benchmarks = [(labels[file], problems) for file, problems in read.loaded.items()]
    absent += read.failures.values()
    if not benchmarks and directory is None:
        return unchecked
    if not benchmarks:
        raise (ValueError if read.failures else FileNotFoundError)(f"{directory}: {'; '.join(absent)}")
    beside = ""
    if path := run.config.get("problems", {}).get("path", ""):
        try:
            items += _statements(Path(located(path)))
            beside = f", and the statements of {path}"
        except (OSError, ValueError) as error:
            absent.append(f"problems.path, {error}")
    names = [f"{name}: {len(problems)}" for name, problems in benchmarks]
    names += [f"not checked: {reason}" for reason in absent]
    return step, names, beside, overlaps.find(items, benchmarks)


class _Benchmarks:
    """The benchmark files that were read, and why others could not be.

    Problems of standard input are those of every language: their file is read once.
    """

    def __init__(self) -> None:
        self.loaded: dict[Path, Sequence[AnyProblem]] = {}
        self.failures: dict[Path, str] = {}

    def add(self, sources: Iterable[Path], suffix: str) -> bool:
        """Reads a language's files; whether one of them can be read."""
        can_read = False
        for source in sources:
            if source not in self.loaded and source not in self.failures:
                try:
                    self.loaded[source] = files.load(source, suffix)
                except (OSError, ValueError) as error:
                    self.failures[source] = str(error)
            can_read |= source in self.loaded
        return can_read


def _items(buffer: dict[str, Any]) -> Iterator[Item]:
    for part in buffer["triplets"]:  # one, or deduction's and abduction's, which share their seeds
        for entry in part["entries"]:
            yield Item("triplet", entry["step"], entry["program"])
    for entry in buffer["problems"]["entries"]:
        yield Item("induction problem", entry["step"], entry["program"], entry["message"])


def _statements(path: Path) -> Iterator[Item]:
    for problem in records.load_stdin(path):
        yield Item(f"problem {problem.name}", 0, "", problem.prompt)


def _rows(findings: Findings) -> str:
    shown = [*findings.matches[:_SHOWN], *findings.nearest] if findings.matches else list(findings.nearest)
    if not shown:
        return "<p class='note'>No item shares a single n-gram with a problem.</p>"
    more = len(findings.matches) - _SHOWN
    left_out = f"<p class='note'>{more} more matches are left out here.</p>" if more > 0 else ""
    return "".join(_row(match, match.overlap >= findings.threshold) for match in shown) + left_out


def _row(match: Match, matches: bool) -> str:
    chip = '<span class="chip bad">match</span>' if matches else '<span class="chip">below</span>'
    item = match.item
    repeated = f" · {match.times} times" if match.times > 1 else ""
    head = f"{match.overlap:.0%} · {match.problem}, {match.part} · {item.kind} of step {item.step}{repeated}"
    message = f"message: {item.message}" if item.message and item.program else item.message
    body = "\n\n".join(filter(None, (item.program, message)))
    return (
        f"<details><summary>{chip} {text(visible(head))}</summary>"
        f"<h4>longest shared run ({text(match.benchmark)})</h4><pre>{text(visible(match.shared))}</pre>"
        f"<h4>the item</h4><pre>{text(visible(body))}</pre></details>"
    )
