"""The attack corpora and how an attack is judged; manifest.json and the canaries are those of attacks/README.md."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
from pathlib import Path

import pytest

from executors import LANGUAGES, Job, JobKind, Limits, Status, Verdict

OWN = Path(__file__).with_name("attacks")
# A corpus kept outside the repository, for those who have it.
SHARED = Path(__file__).parents[2].parent / "shared" / "attacks"
CORPORA = {"shared": SHARED, "own": OWN}
FOLDERS = {"javascript": "js"}
# More wall time than CPU time, because a busy machine gives a program only a part of a core.
LIMITS = Limits(wall_s=8.0, cpu_s=2.0, memory_mib=256)
SECRET = "SECRET-CANARY-6f1d"
CANARY_DIR = Path("/var/tmp/azr_canary")
CANARY_PORT = 18999
_ERRORS = (Status.RUNTIME_ERROR, Status.SYNTAX_ERROR, Status.FORBIDDEN)


@dataclasses.dataclass(frozen=True)
class Attack:
    """One program, its acceptable outcomes, the one value that may be claimed and what must not appear."""

    name: str
    language: str
    source: str
    input: str
    expect: tuple[str, ...]
    value: str | None
    forbid: tuple[str, ...]

    @property
    def job(self) -> Job:
        determinism = "nondeterministic" in self.expect
        return Job(self.name, JobKind.EVALUATE, self.source, (self.input,), determinism=determinism)

    def faults(self, verdict: Verdict) -> list[str]:
        """What is wrong with a verdict on this program, its value left aside."""
        faults = []
        if word(verdict.status) not in self.expect:
            faults.append(f"{self.name}: {verdict}")
        faults += [f"{self.name} holds {text}" for text in (SECRET, *self.forbid) if text in repr(verdict)]
        return faults

    def value_job(self, verdict: Verdict) -> Job | None:
        """The job whose verdict must be correct, when the program claimed a value and only one may be claimed."""
        if not verdict.ok or self.value is None:
            return None
        return Job(self.name, JobKind.VALUE, inputs=verdict.values, expect=(self.value,))


def word(status: Status) -> str:
    """The manifest's word for a status."""
    return "error" if status in _ERRORS else status.value


def has_corpus(corpus: str, language: str) -> bool:
    """Whether the corpus is here and has programs of the language."""
    return (CORPORA[corpus] / FOLDERS.get(language, language) / "manifest.json").is_file()


def load_attacks(corpus: str, language: str) -> list[Attack]:
    """The programs of a corpus; skips the test when there is none or the language is not installed."""
    folder = CORPORA[corpus] / FOLDERS.get(language, language)
    if not has_corpus(corpus, language):
        pytest.skip(f"the corpus {corpus} has no {language}")
    if LANGUAGES[language].find() is None:
        pytest.skip(f"{language} is not installed: {LANGUAGES[language].install_hint}")
    attacks = []
    for row in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
        source = (folder / row["file"]).read_text(encoding="utf-8", errors="surrogateescape")
        expect, forbid = tuple(row["expect"]), tuple(row["forbid"])
        attacks.append(Attack(row["name"], language, source, row["input"], expect, row["value"], forbid))
    return attacks


def identity_job(language: str, name: str = "benign") -> Job:
    """A benign program; its value is the language's `identity_output`."""
    record = LANGUAGES[language]
    return Job(name, JobKind.EVALUATE, record.identity, (record.identity_input,))


def resident_mib() -> float:
    """Resident memory of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
