"""The command line: `python -m executors run | batch | doctor | build | speed`; verdicts are JSON lines."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from executors import LANGUAGES, Job, JobKind, Language, Limits, Pool, Verdict, load_languages
from executors.sandbox.launch import Tier

_LIMITS = Limits()
_ALLOW_TIER = "least containment to accept: namespaces, landlock or limits (default: %(default)s)"
_MEMORY = "MiB of a program (default: %(default)s)"
_VALUE = "characters of a value (default: %(default)s)"
# Languages with a part to build; without it they start several times slower.
_BUILDS: dict[str, Callable[[], Path]] = {
    name: language.build for name, language in LANGUAGES.items() if language.build
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m executors", description="Run programs in contained processes.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run one program and print its verdict as a JSON line")
    run.add_argument("--source", required=True, metavar="FILE", help="file of the program, - for standard input")
    run.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="ARGUMENTS",
        help="arguments of a call of f, without the parentheses; may be repeated",
    )
    run.add_argument("--expect", action="append", metavar="VALUE", help="the value expected for each --input")
    run.add_argument("--determinism", action="store_true", help="also run in a second process, with other hash seeds")
    run.add_argument("--program", action="store_true", help="run the file as a whole program, without --input")
    batch = commands.add_parser("batch", help="JSON lines of jobs on standard input, JSON lines of verdicts out")
    batch.add_argument("--workers", type=int, default=None, help="contained workers (default: one per core)")
    batch.add_argument("--determinism", action="store_true", help="also run every job in a second process")
    for command in (run, batch):
        command.add_argument("--language", required=True, help=f"one of {', '.join(sorted(LANGUAGES))}")
        command.add_argument(
            "--timeout",
            type=float,
            default=_LIMITS.wall_s,
            metavar="S",
            help="wall and CPU time (default: %(default)s)",
        )
        command.add_argument("--memory-mib", type=int, default=_LIMITS.memory_mib, metavar="N", help=_MEMORY)
        command.add_argument("--value-chars", type=int, default=_LIMITS.value_chars, metavar="N", help=_VALUE)
        command.add_argument("--cold", action="store_true", help="a fresh interpreter for every program")
    doctor = commands.add_parser("doctor", help="report what is installed and how programs are contained")
    doctor.add_argument("language", nargs="*", help="language to try, as a run does when it starts")
    for command in (run, batch, doctor):
        command.add_argument("--allow-tier", default="namespaces", help=_ALLOW_TIER)
        names = ("--language_directory", "--language-dir")
        command.add_argument(*names, dest="language_dir", default=None, metavar="DIR", help="folder of more languages")
    build = commands.add_parser("build", help="compile parts that make a language start faster; once per machine")
    build.add_argument("language", nargs="*", help=f"of {', '.join(sorted(_BUILDS))} (default: all that are installed)")
    speed = commands.add_parser(
        "speed", aliases=["benchmark"], help="programs per second, cold against warm, on one core"
    )
    speed.add_argument("--language", action="append", help="only this language; may be repeated")
    speed.add_argument("--seconds", type=float, default=4.0, help="time for each figure (default: %(default)s)")
    speed.add_argument("--tests", type=int, metavar="N", help="instead: whole programs with N tests, against cold ones")
    speed.add_argument("--soak", type=int, metavar="N", help="instead: N programs through one pool, to see if it grows")
    speed.add_argument("--hanging", type=int, metavar="N", help="instead: a batch of N of which 5%% run into limits")
    speed.add_argument("--json", action="store_true", help="the last line is a list of rows")
    return parser


def _languages(arguments: argparse.Namespace) -> dict[str, Language]:
    return LANGUAGES | (load_languages(arguments.language_dir) if arguments.language_dir is not None else {})


def _language(arguments: argparse.Namespace) -> Language:
    languages = _languages(arguments)
    if arguments.language not in languages:
        raise ValueError(f"--language is {arguments.language!r}: use one of {', '.join(sorted(languages))}")
    return languages[arguments.language]


def _limits(arguments: argparse.Namespace) -> Limits:
    return Limits(
        wall_s=arguments.timeout,
        cpu_s=arguments.timeout,
        memory_mib=arguments.memory_mib,
        value_chars=arguments.value_chars,
    )


def _pool(arguments: argparse.Namespace, workers: int | None) -> Pool:
    return Pool(
        _language(arguments),
        workers=workers,
        limits=_limits(arguments),
        cold=arguments.cold,
        allow_tier=arguments.allow_tier,
    )


def verdict_line(verdict: Verdict, identity: object) -> str:
    """`verdict` as a JSON line with the id `identity`; `value` is the first value, or null."""
    fields: dict[str, Any] = dataclasses.asdict(verdict)
    fields["id"] = identity
    fields["status"] = verdict.status.value
    fields["value"] = verdict.values[0] if verdict.values else None
    if not verdict.passed:
        del fields["passed"]
    if verdict.exit_code is None:
        for name in ("exit_code", "stdout", "stderr"):
            del fields[name]
    return json.dumps(fields) + "\n"


def _read_source(name: str) -> str:
    data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    return data.decode("utf-8", "surrogateescape")


def _run(arguments: argparse.Namespace, output: TextIO) -> int:
    source = _read_source(arguments.source)
    if arguments.program:
        if arguments.input or arguments.expect or arguments.determinism:
            raise ValueError("--program runs the file as it is: leave out --input, --expect and --determinism")
        job = Job("run", JobKind.PROGRAM, source)
    else:
        if not arguments.input:
            raise ValueError("--input is missing: give one for each call of f, or --program for a whole program")
        expect = tuple(arguments.expect) if arguments.expect else None
        job = Job("run", JobKind.EVALUATE, source, tuple(arguments.input), expect, arguments.determinism)
    with _pool(arguments, workers=1) as pool:
        if pool.tier is not max(Tier):
            _state_tier(pool)
        verdict = pool.submit(job).result()
    output.write(verdict_line(verdict, verdict.id))
    return 0 if verdict.ok and verdict.correct is not False else 1


class _Lines:
    """Jobs of JSON lines. A line has id, source and input (or inputs), and perhaps expect; kind "value": no source.

    An id is any JSON value, returned unchanged.

    A whole program (kind "program") may have tests: stdin and expect_stdout, as many texts each; compare, all_tests;
    and limits of each run, timeout (seconds) and memory_mib, instead of the command's, and total_timeout, of all runs.

    A line that is no job is reported on standard error and counted in `bad`; the others run.
    """

    def __init__(self, lines: BinaryIO, determinism: bool, limits: Limits) -> None:
        self.bad = 0
        self._lines = lines
        self._determinism = determinism
        self._limits = limits

    def jobs(self) -> Iterator[tuple[object, Job]]:
        """Each job with its id."""
        for number, line in enumerate(self._lines, 1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
                job = _job(fields, self._determinism, self._limits)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                self.bad += 1
                what = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
                sys.stderr.write(f"error: line {number} is no job and is left out: {what}\n")
            else:
                yield fields["id"], job


def _texts(value: object, key: str) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{key} is {value!r:.60}: give a text in the language, or a list of them")
    return tuple(texts)


def _flag(fields: dict[str, Any], key: str, default: bool = False) -> bool:
    if not isinstance(value := fields.get(key, default), bool):
        raise TypeError(f"{key} is {value!r:.60}: give true or false")
    return value


def _number(fields: dict[str, Any], key: str) -> float | None:
    value = fields.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
        raise TypeError(f"{key} is {value!r:.60}: give a number above 0")
    return value


def _own_limits(fields: dict[str, Any], limits: Limits) -> Limits | None:
    time_s, memory_mib = _number(fields, "timeout"), _number(fields, "memory_mib")
    if time_s is None and memory_mib is None:
        return None
    wall_s, cpu_s = (limits.wall_s, limits.cpu_s) if time_s is None else (time_s, time_s)
    memory = limits.memory_mib if memory_mib is None else int(memory_mib)
    return dataclasses.replace(limits, wall_s=wall_s, cpu_s=cpu_s, memory_mib=memory)


def _job(fields: Any, determinism: bool, limits: Limits) -> Job:
    """Raises ValueError, KeyError or TypeError if `fields` make no job."""
    if not isinstance(fields, dict):
        raise TypeError(f"it is {type(fields).__name__}, not an object")
    kind = JobKind(fields.get("kind", JobKind.EVALUATE))
    source = fields["source"] if kind is not JobKind.VALUE else fields.get("source", "")
    if not isinstance(source, str):
        raise TypeError(f"source is {source!r:.60}: give the program's text")
    inputs = fields["inputs"] if "inputs" in fields else fields["input"] if kind is not JobKind.PROGRAM else []
    expect = fields.get("expect")
    return Job(
        json.dumps(fields["id"]),
        kind,
        source,
        _texts(inputs, "input"),
        None if expect is None else _texts(expect, "expect"),
        _flag(fields, "determinism", determinism),
        stdin=_texts(fields.get("stdin", []), "stdin"),
        expect_stdout=(
            None if fields.get("expect_stdout") is None else _texts(fields["expect_stdout"], "expect_stdout")
        ),
        compare=fields.get("compare", "trimmed"),
        all_tests=_flag(fields, "all_tests"),
        limits=_own_limits(fields, limits),
        total_s=_number(fields, "total_timeout") or math.inf,
    )


def _put(finished: queue.SimpleQueue[Any], identity: object, future: Future[Verdict]) -> None:
    finished.put((identity, future))


def _batch(arguments: argparse.Namespace, output: TextIO) -> int:
    # Not sys.stdin: Python aborts at exit if a thread is still reading it, as after an interruption.
    lines = _Lines(open(0, "rb", closefd=False), arguments.determinism, _limits(arguments))
    # Verdicts, and at the end the number of jobs: lines are read at the same time, so that no verdict waits for a line.
    finished: queue.SimpleQueue[tuple[object, Future[Verdict]] | int] = queue.SimpleQueue()
    with _pool(arguments, arguments.workers) as pool:
        _state_tier(pool)
        room = threading.Semaphore(8 * pool.workers + 64)

        def read() -> None:
            count = 0
            try:
                for identity, job in lines.jobs():
                    room.acquire()
                    pool.submit(job).add_done_callback(functools.partial(_put, finished, identity))
                    count += 1
            finally:
                finished.put(count)

        threading.Thread(target=read, daemon=True).start()
        count, written = sys.maxsize, 0
        while written < count:
            item = finished.get()
            if isinstance(item, int):
                count = item
                continue
            identity, future = item
            room.release()
            output.write(verdict_line(future.result(), identity))
            output.flush()
            written += 1
    return 2 if lines.bad else 0


def _state_tier(pool: Pool) -> None:
    sys.stderr.write(f"{pool.language.name}: programs run in the tier {pool.tier.name.lower()}\n")


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


def _speed(arguments: argparse.Namespace, output: TextIO) -> int:
    # Imported here: no other command needs it.
    from executors import speed

    for name in arguments.language or ():
        if name not in LANGUAGES:
            raise ValueError(f"--language is {name!r}: use one of {', '.join(sorted(LANGUAGES))}")
    rows: list[dict[str, Any]] = []
    failed = 0
    if arguments.hanging:
        rows.append(speed.hanging_batch(LANGUAGES["python"], arguments.hanging))
        output.write("".join(f"{key:10} {value}\n" for key, value in rows[0].items()))
    elif arguments.soak:
        for name in arguments.language or ["python"]:
            _require_installed(LANGUAGES[name])
            marks = []
            for mark in speed.soak(LANGUAGES[name], arguments.soak):
                marks.append(mark)
                output.write(
                    f"{name:12} {' '.join(f'{key}={value}' for key, value in dataclasses.asdict(mark).items())}\n"
                )
                output.flush()
            grown = speed.growth(marks)
            failed |= bool(grown)
            output.write(f"{name:12} {'GREW: ' + '; '.join(grown) if grown else 'nothing grew'}\n")
            rows += [{"language": name, **dataclasses.asdict(mark)} for mark in marks]
    else:
        for name in arguments.language or sorted(LANGUAGES):
            if LANGUAGES[name].find() is None and not arguments.language:
                output.write(f"{name:12} not installed: {LANGUAGES[name].install_hint}\n")
                continue
            _require_installed(LANGUAGES[name])
            if arguments.tests:
                rows.append(speed.tests_rates(LANGUAGES[name], arguments.seconds, arguments.tests))
                output.write(f"{name:12} {_tests_figures(rows[-1])}\n")
                output.flush()
                continue
            if LANGUAGES[name].harness is None:
                output.write(f"{name:12} has whole programs alone: there are no calls to count\n")
                continue
            row = speed.rates(LANGUAGES[name], arguments.seconds)
            rows.append(row)
            output.write(f"{name:12} {_figures(row)}\n")
            output.flush()
    if arguments.json:
        output.write(json.dumps(rows) + "\n")
    return failed


def _figures(row: dict[str, Any]) -> str:
    warm, core_ms = row["warm_per_s_1"], row["warm_core_ms_1"]
    if not warm:
        return f"cold only {row['cold_per_s']}/s"
    text = f"cold {row['cold_per_s']}/s, warm {warm}/s, {row['cores']} cores {row['warm_per_s_all']}/s"
    text += f"  {warm / row['cold_per_s']:.1f}x"
    return text + (f"; core time {row['cold_core_ms'] / core_ms:.1f}x" if core_ms else "")


def _tests_figures(row: dict[str, Any]) -> str:
    cold, single, every = (row[f"{key}_per_s"] for key in ("cold", "forked_1", "forked_all"))
    text = f"tests/s: cold {cold}, one core {single}, {row['cores']} cores {every}  {every / cold:.1f}x"
    cold_ms, forked_ms = row["cold_core_ms"], row["forked_1_core_ms"]
    return text + (f"; core ms a test: {cold_ms} {forked_ms}  {cold_ms / forked_ms:.1f}x" if forked_ms else "")


def _require_installed(language: Language) -> None:
    if language.find() is None:
        raise ValueError(f"{language.full_name} is not installed: {language.install_hint}")


def main(argv: Sequence[str] | None = None, output: TextIO = sys.stdout) -> int:
    """Run the command line; returns the exit status. A user's mistake is one line on standard error and status 2."""
    arguments = _parser().parse_args(argv)
    try:
        match arguments.command:
            case "run":
                return _run(arguments, output)
            case "batch":
                return _batch(arguments, output)
            case "doctor":
                # Imported here: no other command only probes this machine.
                from executors import doctor

                return doctor.examine(output, _languages(arguments), arguments.language, arguments.allow_tier)
            case "build":
                return _build(arguments, output)
            case _:
                return _speed(arguments, output)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
