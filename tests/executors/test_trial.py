"""Interpreters of versions that nobody tested: their warm server is tried, and left where it is wrong."""

from __future__ import annotations

import dataclasses
import logging
import shlex

import pytest

from executors import LANGUAGES, Job, JobKind, Pool, Status, compiled, trial
from executors.trial import is_tested

PYTHON = LANGUAGES["python"]
# What a wrapper does to the warm server's own text before it runs it.
BREAKS = {
    "the fork": (
        "pid = LIBC.syscall(_CLONE_NUMBER",
        'raise OSError(38, "no clone")\n    pid = LIBC.syscall(_CLONE_NUMBER',
    ),
    "the protocol": (
        "parts: list[bytes | memoryview] = [len(fields)",
        "parts: list[bytes | memoryview] = [9 + len(fields)",
    ),
    "one value": ("text = walk(value)", "text = walk(value).replace('42', '43')"),
}
# Loads each module of the harness with the text changed; as the interpreter would, but for that.
WRAPPER = """
import importlib.machinery, sys
harness, mode, old, new = sys.argv[1:]
class Changed(importlib.machinery.SourceFileLoader):
    def get_data(self, path):
        return super().get_data(path).replace(old.encode(), new.encode())
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        spec = super().find_spec(name, path, target)
        if spec is not None and spec.origin and spec.origin.startswith("/azr/"):
            spec.loader = Changed(name, spec.origin)
        return spec
sys.meta_path.insert(0, Finder)
sys.argv = [harness, mode]
__file__ = harness
exec(compile(open(harness).read(), harness, "exec"))
"""


def of_version(version: str, old: str = "", new: str = ""):
    """Python that says it is of `version`, its warm server's text changed from `old` to `new`."""
    interpreter = dataclasses.replace(PYTHON.find(), version=version)

    def harness_argv(interpreter, harness, mode):
        argv = list(PYTHON.harness_argv(interpreter, harness, mode))
        if mode != "--serve" or not old:
            return argv
        return [*argv[:-2], "-c", WRAPPER, harness, mode, old, new]

    return dataclasses.replace(PYTHON, find=lambda: interpreter, harness_argv=harness_argv)


@pytest.mark.parametrize("what", BREAKS)
def test_a_warm_server_that_fails_or_differs_is_left(what, caplog):
    with caplog.at_level(logging.WARNING), Pool(of_version("9.9.1", *BREAKS[what]), workers=1) as pool:
        verdict = pool.submit(Job("job", JobKind.EVALUATE, "def f(x):\n    return 2 * x", ("21",))).result()
    assert (verdict.status, verdict.values) == (Status.OK, ("42",))
    assert pool.cold_because
    (record,) = [record for record in caplog.records if "starts a fresh interpreter" in record.message]
    assert "Python 9.9.1" in record.message and "Tested versions: 3.11" in record.message


def test_a_warm_server_of_another_version_that_does_what_it_should_is_used():
    with Pool(of_version("9.9.1"), workers=1) as pool:
        assert pool.cold_because == ""


@pytest.mark.parametrize(
    ("name", "version", "tested"),
    [("julia", "1.5.3", True), ("julia", "1.10.0", False), ("julia", "1.50.0", False)],
)
def test_versions_that_are_believed(name, version, tested):
    assert is_tested(LANGUAGES[name], version) is tested


def test_a_tested_version_is_tried_once_on_a_machine_and_left_if_it_differs_twice(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(compiled, "folder", lambda name: tmp_path / name)
    difference = trial.difference
    monkeypatch.setattr(trial, "difference", lambda *given: tried.append(given[1].version) or difference(*given))
    for _ in range(2):
        with Pool("python", workers=1) as pool:
            assert pool.cold_because == ""
    assert len(tried) == 1
    tested = of_version(f"{PYTHON.tested[0]}.0", *BREAKS["one value"])
    for _ in range(2):
        with Pool(tested, workers=1) as pool:
            assert pool.cold_because
    assert len(tried) == 1 + 2 * 2


def test_another_build_of_a_tested_version_is_tried_again(tmp_path, monkeypatch):
    """Its path and its version are those of the one that passed."""
    real = PYTHON.find()
    build = tmp_path / "python3.11"
    interpreter = dataclasses.replace(
        real, argv=(str(build), *real.argv[1:]), version=f"{PYTHON.tested[0]}.0", read_only=(*real.read_only, tmp_path)
    )
    # Another build writes one value otherwise; sh hands on whatever it is given.
    breaks = f"""#!/bin/sh
case "$*" in *--serve) ;; *) exec {real.argv[0]} "$@" ;; esac
eval "harness=\\${{$(($# - 1))}}"
exec {real.argv[0]} -I -S -B -c '{WRAPPER}' "$harness" --serve {" ".join(map(shlex.quote, BREAKS["one value"]))}
"""
    language = dataclasses.replace(PYTHON, find=lambda: interpreter)
    monkeypatch.setattr(compiled, "folder", lambda name: tmp_path / name)
    for text, is_cold in ((f'#!/bin/sh\nexec {real.argv[0]} "$@"\n', False), (breaks, True)):
        build.write_text(text)
        build.chmod(0o755)
        with Pool(language, workers=1) as pool:
            assert bool(pool.cold_because) is is_cold, pool.cold_because


@pytest.mark.parametrize("name", [name for name, language in LANGUAGES.items() if language.serves and language.once])
def test_every_warm_server_has_a_sample_and_a_tested_version(name):
    assert LANGUAGES[name].sample and LANGUAGES[name].tested
