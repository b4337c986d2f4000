"""The grid of a study: its settings, its cells, and running them as `python -m azr_jax.main` processes."""

from __future__ import annotations

import ast
import concurrent.futures
import dataclasses
import functools
import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from azr_jax.config import Config, differences, from_mapping
from azr_jax.workdir.files import ended_steps
from azr_jax.workdir.settings import binding, changed_settings, completed


@dataclasses.dataclass(frozen=True, slots=True)
class Study:
    """Settings of a study file.

    config: the configuration file that all runs share. overrides: `key=value` for all. languages and arms: by name,
    the `key=value` that make it; an arm may be empty. baseline: the arm that the others are compared with.
    """

    name: str
    config: str
    baseline: str
    overrides: tuple[str, ...]
    languages: Mapping[str, tuple[str, ...]]
    arms: Mapping[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """One run of a grid; `settings` are its overrides in the order in which they apply."""

    language: str
    arm: str
    seed: int
    workdir: Path
    settings: tuple[str, ...]

    @property
    def name(self) -> str:
        """The cell's name for a reader."""
        return name_of(self.language, self.arm, self.seed)


def name_of(language: str, arm: str, seed: int) -> str:
    """A run's name for a reader."""
    return f"{language}/{arm}/seed {seed}"


def study_of(mapping: Mapping[str, Any], name: str) -> Study:
    """The study of a ConfigDict's mapping.

    Raises:
      ValueError: an unknown or missing key, a value of another type, no language, or a baseline that is no arm.
    """
    keys = [field.name for field in dataclasses.fields(Study) if field.name != "name"]
    for key in sorted(set(mapping) ^ set(keys)):
        raise ValueError(f"study {name}: key {key!r} is {'unknown' if key in mapping else 'missing'}; it has {keys}")
    for key in ("config", "baseline"):
        if not isinstance(mapping[key], str):
            raise ValueError(f"study {name}: {key}={mapping[key]!r}: must be text")
    for key in ("languages", "arms"):
        if not isinstance(mapping[key], Mapping) or not mapping[key]:
            raise ValueError(
                f"study {name}: {key}={mapping[key]!r}: must be names with their settings, as {{'NAME': ()}}"
            )
    study = Study(
        name=name,
        config=mapping["config"],
        baseline=mapping["baseline"],
        overrides=_settings(name, "overrides", mapping["overrides"]),
        languages={key: _settings(name, f"languages.{key}", given) for key, given in mapping["languages"].items()},
        arms={key: _settings(name, f"arms.{key}", given) for key, given in mapping["arms"].items()},
    )
    if study.baseline not in study.arms:
        raise ValueError(f"study {name}: baseline={study.baseline!r} is no arm; arms are {', '.join(study.arms)}")
    return study


def _settings(study: str, key: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(setting, str) for setting in given):
        raise ValueError(f"study {study}: {key}={given!r}: must be a tuple of 'key=value', as ('reward.permute=True',)")
    return tuple(given)


def cells_of(study: Study, seeds: int, out: Path) -> list[Cell]:
    """Every run of the grid, seeds outermost, so that an interrupted study has whole seeds.

    Raises:
      ValueError: `seeds` below 1.
    """
    if seeds < 1:
        raise ValueError(f"--seeds={seeds}: must be at least 1")
    return [
        Cell(
            language,
            arm,
            seed,
            out / language / f"{arm}-{seed}",
            (f"seed={seed}", *study.overrides, *of_language, *of_arm),
        )
        for seed in range(seeds)
        for language, of_language in study.languages.items()
        for arm, of_arm in study.arms.items()
    ]


def chosen(study: Study, cells: Sequence[Cell], languages: Sequence[str], arms: Sequence[str]) -> list[Cell]:
    """The cells of these languages and arms, by language in the order given; an empty list of names takes all.

    Raises:
      ValueError: a language or an arm that the study does not have.
    """
    for flag, names, known in (("--languages", languages, study.languages), ("--arms", arms, study.arms)):
        for name in names:
            if name not in known:
                raise ValueError(f"{flag}={name}: study {study.name} has {', '.join(known)}")
    picked = [cell for cell in cells if not arms or cell.arm in arms]
    return [cell for name in languages for cell in picked if cell.language == name] if languages else picked


def config_of(study: Study, cell: Cell) -> Config:
    """The settings that the cell's run will have.

    Raises:
      ValueError: settings that `azr_jax.main` would refuse, with the cell's name.
      FileNotFoundError: no such configuration file.
    """
    if not Path(study.config).is_file():
        raise FileNotFoundError(f"study {study.name}: config={study.config!r}: no such file")
    config = _module(study.config).get_config()
    try:
        config.update_from_flattened_dict(dict(_parsed(setting) for setting in cell.settings))
        return from_mapping(config.to_dict())
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"study {study.name}, {cell.name}: {error}") from error


def made_by(config: Config) -> tuple[str, ...]:
    """The settings that a run's result depends on, where they differ from configs/base.py, as `key: base -> run`."""
    return tuple(binding(differences(completed({}), json.loads(config.to_json())), scores=True))


@functools.cache
def _module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("study_config", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _parsed(setting: str) -> tuple[str, Any]:
    key, equals, text = setting.partition("=")
    if not equals:
        raise ValueError(f"{setting!r} must be key=value")
    try:
        return key, ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return key, text


def is_done(cell: Cell, config: Config) -> bool:
    """Whether the cell's run has ended with all its steps.

    Raises:
      ValueError: a damaged summary or config.json, or a run with other settings than the study now has.
    """
    if ended_steps(cell.workdir) != config.steps:
        return False
    if refused := binding(changed_settings(cell.workdir, config), scores=True):
        listed = "\n  ".join(refused)
        raise ValueError(
            f"{cell.workdir}: this run ended with other settings than the study has (old -> new):\n  {listed}\nfix the"
            " study file, choose another --out, or delete the folder to run it again"
        )
    return True


class Runner:
    """Runs cells as processes, `parallel` at a time; each place gets its own share of the cores.

    device_variable: an environment variable that says which accelerator a process sees, such as CUDA_VISIBLE_DEVICES,
    set to the place's number. compiled: the runs' common cache of compiled programs, unless JAX_COMPILATION_CACHE_DIR
    is set; without it each run of the embedded model compiles for a minute.
    """

    def __init__(self, study: Study, parallel: int, device_variable: str = "", compiled: Path | None = None) -> None:
        if parallel < 1:
            raise ValueError(f"--parallel={parallel}: must be at least 1")
        self._study = study
        self._device_variable = device_variable
        self._compiled = compiled
        self._parallel = parallel
        self._places: queue.SimpleQueue[int] = queue.SimpleQueue()
        for place in range(parallel):
            self._places.put(place)
        self._lock = threading.Lock()  # of the two fields below
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = False

    def run_all(self, cells: Iterable[Cell], on_end: Callable[[Cell, int], None]) -> dict[str, int]:
        """Runs the cells; `on_end` gets each with its exit status. Returns names and statuses of those that failed.

        A failed run does not stop the others. At Ctrl-C each run gets one signal, saves and ends; no new one starts.
        """
        failed: dict[str, int] = {}
        with concurrent.futures.ThreadPoolExecutor(self._parallel) as threads:
            waiting: dict[concurrent.futures.Future[int], Cell] = {}
            try:
                for cell in cells:
                    waiting[threads.submit(self._run, cell)] = cell
                for future in concurrent.futures.as_completed(waiting):
                    status = future.result()
                    if status:
                        failed[waiting[future].name] = status
                    on_end(waiting[future], status)
            except KeyboardInterrupt:
                self._interrupt()
                try:
                    threads.shutdown(cancel_futures=True)
                except KeyboardInterrupt:
                    self._interrupt()
                raise
        return failed

    def _interrupt(self) -> None:
        with self._lock:
            self._stopping = True
            for process in self._running:
                process.send_signal(signal.SIGINT)

    def _run(self, cell: Cell) -> int:
        place = self._places.get()
        try:
            return self._process(cell, place)
        finally:
            self._places.put(place)

    def _process(self, cell: Cell, place: int) -> int:
        cell.workdir.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "azr_jax.main", f"--config={self._study.config}", f"--workdir={cell.workdir}"]
        command += [f"--config.{setting}" for setting in cell.settings]
        environment = dict(os.environ)
        if self._device_variable:
            environment[self._device_variable] = str(place)
        if self._compiled is not None and "JAX_COMPILATION_CACHE_DIR" not in environment:
            environment["JAX_COMPILATION_CACHE_DIR"] = str(self._compiled.absolute())
        log = cell.workdir.with_suffix(".log")
        with log.open("ab") as stream:
            with self._lock:
                if self._stopping:
                    return 130
                # In a group of its own: the terminal's Ctrl-C would miss a run that starts just then, and a second one
                # would end a run that is saving.
                process = subprocess.Popen(
                    command, stdout=stream, stderr=subprocess.STDOUT, env=environment, process_group=0
                )
                self._running.add(process)
            if self._parallel > 1:
                # Before the interpreter has made threads; processes that share cores would fight over them.
                os.sched_setaffinity(process.pid, self._cores(place))
            try:
                return process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)

    def _cores(self, place: int) -> set[int]:
        cores = sorted(os.sched_getaffinity(0))
        return set(cores[place % len(cores) :: self._parallel]) or set(cores)
