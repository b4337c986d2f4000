"""The report of `python -m executors doctor`: interpreters, parts of the sandbox, the tier, and what each means."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from executors import trial
from executors.language import Language
from executors.pool import Pool
from executors.sandbox import advice, cgroup, seccomp
from executors.sandbox.launch import TIER_MEANING, Tier, parse_tier
from executors.sandbox.probe import best_tier, probe, require_tier

_LANDLOCK_CREATE_RULESET = 444


def landlock_version() -> int:
    """The version of Landlock that this kernel has; 0 for none."""
    return max(0, ctypes.CDLL(None, use_errno=True).syscall(_LANDLOCK_CREATE_RULESET, None, 0, 1))


def _bubblewrap() -> tuple[bool, str]:
    path = shutil.which("bwrap")
    if path is None:
        return False, "without it there is no tier namespaces"
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return True, f"{path} {done.stdout.strip()}"


def _seccomp() -> tuple[bool, str]:
    if platform.machine() not in seccomp.MACHINES:
        return False, f"no filter for {platform.machine()}: programs can't be run here"
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    if not actions.exists():
        return False, "this kernel has none: programs can't be run here"
    return True, "refuses sockets, new processes, exec, tracing, mounts, keys and writing"


def _landlock() -> tuple[bool, str]:
    version = landlock_version()
    if version:
        return True, f"version {version}; bounds what is read where namespaces are refused"
    return False, "where namespaces are refused, programs can read what this user can read"


def _control_groups() -> tuple[bool, str]:
    place = cgroup.find_place()
    if place is None:
        return False, "no writable group: memory is bounded by address space, process by process; threads by memory"
    return True, f"{' and '.join(place.controllers)} of each worker bounded below {', '.join(map(str, place.folders))}"


def _features() -> Iterator[tuple[str, bool, str]]:
    """Name, whether it is there, and what that means."""
    user = "an ordinary user" if os.geteuid() else "root; no capability of it reaches a program"
    yield "not root", os.geteuid() != 0, user
    yield "bubblewrap", *_bubblewrap()
    fault = probe(Tier.NAMESPACES).fault
    of_worker = "user, process, network, mount, IPC and host name, a set for each worker"
    yield "namespaces", not fault, f"{fault}. {advice.namespaces()}" if fault else of_worker
    yield "seccomp", *_seccomp()
    yield "landlock", *_landlock()
    yield "cgroup", *_control_groups()


def examine(
    output: TextIO, languages: Mapping[str, Language], tried: Sequence[str] = (), allow_tier: str = "namespaces"
) -> int:
    """Write the findings to `output`; returns the exit status that a run with `allow_tier` has: 0, or 2 for an error.

    `languages`: those to look for, by name. `tried`: names of languages that run their sample in a pool, as at a run's
    start.
    """
    least = parse_tier(allow_tier)
    for name, language in sorted(languages.items()):
        interpreter = language.find()
        if interpreter is None:
            output.write(f"{name:12} not installed: {language.install_hint}\n")
            continue
        kind = "cold only" if not language.serves else "warm" if language.once else "started afresh in a warm sandbox"
        output.write(f"{name:12} {interpreter.version}  {' '.join(interpreter.argv)}  ({kind})\n")
        if interpreter.root is not None:
            output.write(f"{'':12} in its own root {interpreter.root}\n")
    output.write("\nParts of the sandbox\n")
    for name, there, meaning in _features():
        output.write(f"{name:12} {'yes' if there else 'no':4} {meaning}\n")
    output.write("\nTiers, tried with live processes\n")
    for tier in sorted(Tier, reverse=True):
        fault = probe(tier).fault
        output.write(f"{tier.name.lower():12} {'not here: ' + fault if fault else 'works'}\n")
        output.write(f"{'':12} {TIER_MEANING[tier]}\n")
    best = best_tier()
    if best is None or best < least:
        output.write(f"\n{_refusal(allow_tier)}\n")
        return 2
    output.write(f"\nPrograms run in the tier {best.name.lower()}.\n")
    failed = 0
    for name in tried:
        try:
            if name not in languages:
                raise ValueError(f"it is unknown: use one of {', '.join(sorted(languages))}")
            with Pool(languages[name], workers=1, allow_tier=allow_tier) as pool:
                output.write(f"{name:12} ran its identity program\n")
                if trial.has_both_ways(pool.language):
                    fault = pool.cold_because or trial.difference(pool.language, pool.interpreter, pool.tier)
                    output.write(f"{'':12} warm and cold {'differ: ' + fault if fault else 'agree on its sample'}\n")
        except ValueError as error:
            output.write(f"{name:12} does not work: {error}\n")
            failed = 2
    return failed


def _refusal(allow_tier: str) -> str:
    """The error that a run raises on this machine, whose containment is less than `allow_tier`."""
    try:
        require_tier(allow_tier)
    except ValueError as error:
        return str(error)
    return ""
