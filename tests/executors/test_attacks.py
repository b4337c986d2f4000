"""Every program of the attack corpus ends in an acceptable outcome and leaves no trace, in every installed language."""

import contextlib
import gc
import json
import os
import socket
import threading
from pathlib import Path

import pytest

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status

CORPUS = Path(__file__).parents[2].parent / "shared" / "attacks"
FOLDERS = {"javascript": "js"}
CANARY_DIR = Path("/var/tmp/azr_canary")
CANARY_PORT = 18999
SECRET = "SECRET-CANARY-6f1d"
# huge_bigint is a value of 6,001 characters that must be told.
LIMITS = Limits(wall_s=2.0, cpu_s=2.0, memory_mib=256, value_chars=8192)
ERRORS = (Status.RUNTIME_ERROR, Status.SYNTAX_ERROR, Status.FORBIDDEN)


def corpus(language):
    folder = CORPUS / FOLDERS.get(language, language)
    if not (folder / "manifest.json").exists():
        pytest.skip(f"no attack corpus for {language} beside the repository")
    if LANGUAGES[language].find() is None:
        pytest.skip(f"{language} is not installed: {LANGUAGES[language].install_hint}")
    return folder, json.loads((folder / "manifest.json").read_text())


def word(status):
    return "error" if status in ERRORS else status.value


def attack_job(folder, case):
    source = (folder / case["file"]).read_text(encoding="utf-8", errors="surrogateescape")
    determinism = "nondeterministic" in case["expect"]
    return Job(case["name"], JobKind.EVALUATE, source, (case["input"],), determinism=determinism)


def processes_inside(pid):
    """Command lines of all processes that descend from `pid`."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
                names[int(entry.name)] = stat
    found, frontier = [], {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        found += [names[child] for child in frontier]
    return found


def resident_mib():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


@pytest.fixture
def canaries(monkeypatch):
    """The traps of the corpus: a secret in the environment, an open folder that stays empty, a silent listener."""
    monkeypatch.setenv("AZR_TEST_SECRET", SECRET)
    CANARY_DIR.mkdir(exist_ok=True)
    CANARY_DIR.chmod(0o1777)
    for path in CANARY_DIR.iterdir():
        path.unlink()
    connections = []
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", CANARY_PORT))
    listener.listen()
    listener.settimeout(0.2)
    stop = threading.Event()

    def accept():
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                connections.append(listener.accept())

    thread = threading.Thread(target=accept)
    thread.start()
    yield connections
    stop.set()
    thread.join()
    listener.close()
    assert connections == []
    assert list(CANARY_DIR.iterdir()) == []


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize("cold", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["warm", "cold"])
def test_corpus(language, cold, canaries):
    folder, cases = corpus(language)
    benign = Job("benign", JobKind.EVALUATE, LANGUAGES[language].identity, (LANGUAGES[language].identity_input,))
    wrong = []
    before = len(processes_inside(os.getpid()))
    with Pool(language, workers=1, limits=LIMITS, cold=cold) as pool:
        memory_mib = resident_mib()
        for case in cases:
            verdict = pool.submit(attack_job(folder, case)).result()
            if word(verdict.status) not in case["expect"]:
                wrong.append((case["name"], verdict))
            if verdict.status is Status.OK and case["value"] is not None:
                job = Job("value", JobKind.VALUE, inputs=verdict.values, expect=(case["value"],))
                if pool.submit(job).result().correct is not True:
                    wrong.append((case["name"], "value", verdict))
            for text in (SECRET, *case["forbid"]):
                if text in repr(verdict):
                    wrong.append((case["name"], "holds", text, verdict))
            after = pool.submit(benign).result()
            if after.values != (LANGUAGES[language].identity_output,):
                wrong.append((case["name"], "next program", after))
        assert resident_mib() - memory_mib < 16
    assert wrong == []
    assert len(processes_inside(os.getpid())) == before
