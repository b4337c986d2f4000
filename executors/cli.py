"""The command line: `python -m executors run | batch | doctor | build | benchmark`; verdicts are JSON lines."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from executors import (
    LANGUAGES,
    Job,
    JobKind,
    Language,
    Limits,
    Pool,
    Status,
    Verdict,
    javascript,
    load_languages,
    racket,
)
from executors.launch import TIER_MEANING, Tier
from executors.probe import best_tier, probe

_LIMITS = Limits()
# Languages that work without, but start several times slower.
_BUILDS: dict[str, Callable[[], Path]] = {"racket": racket.compile_harness, "javascript": javascript.build_addon}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m executors", description="Run programs in contained processes.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run one program and print its verdict as a JSON line")
    run.add_argument("--source", required=True, metavar="FILE", help="file of the program, - for standard input")
    run.add_argument("--input", action="append", default=[], metavar="EXPR", help="an input of f; may be repeated")
    run.add_argument("--expect", action="append", metavar="VALUE", help="the value expected for each --input")
    run.add_argument("--determinism", action="store_true", help="run in a second process too, with other hash seeds")
    run.add_argument("--program", action="store_true", help="run the file as a whole program, without --input")
    batch = commands.add_parser("batch", help="JSON lines of jobs on standard input, JSON lines of verdicts out")
    batch.add_argument("--workers", type=int, default=None, help="contained workers (default: one a core)")
    batch.add_argument("--determinism", action="store_true", help="run every job in a second process too")
    for command in (run, batch):
        command.add_argument("--language", required=True, help=f"one of {', '.join(sorted(LANGUAGES))}")
        command.add_argument("--timeout", type=float, default=_LIMITS.wall_s, metavar="S", help="wall and CPU time")
        command.add_argument("--memory-mib", type=int, default=_LIMITS.memory_mib, metavar="N")
        command.add_argument("--value-chars", type=int, default=_LIMITS.value_chars, metavar="N")
        command.add_argument("--cold", action="store_true", help="a fresh interpreter for every program")
        command.add_argument("--allow-tier", default="namespaces", help="least containment: namespaces|landlock|limits")
        command.add_argument("--language-dir", default=None, metavar="DIR", help="folder of more language files")
    commands.add_parser("doctor", help="what is installed here, and how programs are contained")
    build = commands.add_parser("build", help="compile what makes a language start faster; once for each machine")
    build.add_argument("language", nargs="*", help=f"of {', '.join(sorted(_BUILDS))} (default: all that are installed)")
    benchmark = commands.add_parser("benchmark", help="programs a second, cold against warm")
    benchmark.add_argument("--language", action="append", help="only this language; may be repeated")
    benchmark.add_argument("--seconds", type=float, default=4.0, help="time for each figure")
    benchmark.add_argument("--json", action="store_true", help="the last line is a list of rows")
    return parser


def _language(arguments: argparse.Namespace) -> Language:
    languages = dict(LANGUAGES)
    if arguments.language_dir is not None:
        languages.update(load_languages(arguments.language_dir))
    if arguments.language not in languages:
        raise ValueError(f"--language is {arguments.language!r}: use one of {', '.join(sorted(languages))}")
    return languages[arguments.language]


def _pool(arguments: argparse.Namespace, workers: int | None) -> Pool:
    limits = Limits(
        wall_s=arguments.timeout,
        cpu_s=arguments.timeout,
        memory_mib=arguments.memory_mib,
        value_chars=arguments.value_chars,
    )
    return Pool(
        _language(arguments), workers=workers, limits=limits, cold=arguments.cold, allow_tier=arguments.allow_tier
    )


def verdict_line(verdict: Verdict) -> str:
    """`verdict` as a JSON line; `value` is the first value, or null."""
    fields: dict[str, Any] = dataclasses.asdict(verdict)
    fields["status"] = verdict.status.value
    fields["value"] = verdict.values[0] if verdict.values else None
    if verdict.exit_code is None:
        for name in ("exit_code", "stdout", "stderr"):
            del fields[name]
    return json.dumps(fields) + "\n"


def _read_source(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    with open(name, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def _run(arguments: argparse.Namespace, output: TextIO) -> int:
    source = _read_source(arguments.source)
    if arguments.program:
        job = Job("run", JobKind.PROGRAM, source)
    else:
        if not arguments.input:
            raise ValueError("--input is missing: give one for each call of f, or --program for a whole program")
        expect = tuple(arguments.expect) if arguments.expect else None
        if expect is not None and len(expect) != len(arguments.input):
            raise ValueError(f"{len(expect)} --expect for {len(arguments.input)} --input: give as many")
        job = Job("run", JobKind.EVALUATE, source, tuple(arguments.input), expect, arguments.determinism)
    with _pool(arguments, workers=1) as pool:
        verdict = pool.submit(job).result()
    output.write(verdict_line(verdict))
    return 0 if verdict.ok and verdict.correct is not False else 1


def _jobs(lines: TextIO, determinism: bool) -> Iterator[Job]:
    """Jobs of JSON lines. A line has id, source and input (or inputs), and perhaps expect; without source: a value."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            inputs = fields["inputs"] if "inputs" in fields else [fields["input"]] if "input" in fields else []
            expect = fields.get("expect")
            if isinstance(expect, str):
                expect = [expect]
            kind = JobKind(fields["kind"]) if "kind" in fields else JobKind.EVALUATE
            yield Job(
                str(fields["id"]),
                kind,
                fields.get("source", ""),
                tuple(inputs),
                None if expect is None else tuple(expect),
                bool(fields.get("determinism", determinism)),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"line {number} is no job: {type(error).__name__}: {error}") from None


def _batch(arguments: argparse.Namespace, output: TextIO) -> int:
    with _pool(arguments, arguments.workers) as pool:
        for verdict in pool.run(_jobs(sys.stdin, arguments.determinism)):
            output.write(verdict_line(verdict))
            output.flush()
    return 0


def _doctor(output: TextIO) -> int:
    for name, language in sorted(LANGUAGES.items()):
        interpreter = language.find()
        if interpreter is None:
            output.write(f"{name:12} not installed: {language.install_hint}\n")
            continue
        kind = "warm" if language.serves else "cold only"
        output.write(f"{name:12} {interpreter.version}  {' '.join(interpreter.argv)}  ({kind})\n")
        if interpreter.root is not None:
            output.write(f"{'':12} in its own root {interpreter.root}\n")
    for tier in sorted(Tier, reverse=True):
        fault = probe(tier).fault
        output.write(
            f"{tier.name.lower():12} {'not here: ' + fault if fault else 'works'}\n{'':12} {TIER_MEANING[tier]}\n"
        )
    best = best_tier()
    if best is None:
        output.write("No tier works: programs can't be run on this machine.\n")
        return 1
    output.write(f"Programs run in the tier {best.name.lower()}.\n")
    return 0


def _build(arguments: argparse.Namespace, output: TextIO) -> int:
    failed = 0
    for name in arguments.language or sorted(_BUILDS):
        if name not in _BUILDS:
            raise ValueError(f"nothing is built for {name!r}: use {' or '.join(sorted(_BUILDS))}")
        if not arguments.language and LANGUAGES[name].find() is None:
            output.write(f"{name:12} not installed, nothing to build\n")
            continue
        try:
            output.write(f"{name:12} {_BUILDS[name]()}\n")
        except ValueError as error:
            sys.stderr.write(f"{name} works without, but starts more slowly: {error}\n")
            failed = 1
    return failed


def _rate(language: Language, workers: int, cold: bool, seconds: float) -> float:
    """Programs a second of `workers` workers over about `seconds`, every program different."""
    with Pool(language, workers=workers, cold=cold) as pool:
        count, end = 0, 0.0

        def jobs() -> Iterator[Job]:
            index = 0
            while time.monotonic() < end:
                index += 1
                source = f"{language.identity}\n{language.comment} {index}\n"
                yield Job(str(index), JobKind.EVALUATE, source, (language.identity_input,))

        # Let every worker start before the clock does.
        end = time.monotonic() + 1.0
        for _ in pool.run(jobs()):
            pass
        begin = time.monotonic()
        end = begin + seconds
        for verdict in pool.run(jobs()):
            if verdict.status is not Status.OK:
                raise ValueError(f"{language.name}: the identity program gives {verdict.status} {verdict.message}")
            count += 1
        return count / (time.monotonic() - begin)


def _benchmark(arguments: argparse.Namespace, output: TextIO) -> int:
    rows = []
    cores = os.cpu_count() or 1
    for name in arguments.language or sorted(LANGUAGES):
        if name not in LANGUAGES:
            raise ValueError(f"--language is {name!r}: use one of {', '.join(sorted(LANGUAGES))}")
        language = LANGUAGES[name]
        if language.find() is None:
            output.write(f"{name:12} not installed: {language.install_hint}\n")
            continue
        row: dict[str, Any] = {"language": name, "cold_per_s": _rate(language, 1, True, arguments.seconds)}
        for key, workers in (("warm_per_s_1", 1), ("warm_per_s_all", cores)):
            row[key] = _rate(language, workers, False, arguments.seconds) if language.serves else None
        row["cores"] = cores
        row = {key: round(value, 2) if isinstance(value, float) else value for key, value in row.items()}
        rows.append(row)
        warm = row["warm_per_s_1"]
        ratio = f"{warm / row['cold_per_s']:.1f}x" if warm else "cold only"
        output.write(
            f"{name:12} cold {row['cold_per_s']}/s, warm {warm}/s, {cores} cores {row['warm_per_s_all']}/s  {ratio}\n"
        )
        output.flush()
    if arguments.json:
        output.write(json.dumps(rows) + "\n")
    return 0


def main(argv: Sequence[str] | None = None, output: TextIO = sys.stdout) -> int:
    """Run the command line; the exit status. Mistakes of the user are one line on standard error and status 2."""
    arguments = _parser().parse_args(argv)
    try:
        match arguments.command:
            case "run":
                return _run(arguments, output)
            case "batch":
                return _batch(arguments, output)
            case "doctor":
                return _doctor(output)
            case "build":
                return _build(arguments, output)
            case _:
                return _benchmark(arguments, output)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
