"""Every program of the attack corpora ends in an acceptable outcome and leaves no trace, in every language they have.

One file, so that one process of a parallel run owns the traps.
"""

import contextlib
import dataclasses
import os
import random
import socket
import threading
import time

import pytest

from executors import LANGUAGES, Job, JobKind, Pool, Status
from tests.executors.attack_programs import (
    CANARY_DIR,
    CANARY_PORT,
    LIMITS,
    SECRET,
    identity_job,
    load_attacks,
    resident_mib,
    word,
)
from tests.executors.processes import descendants, still_running

WARM_AND_COLD = pytest.mark.parametrize(
    "cold", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["warm", "cold"]
)
ATTACKED = ("javascript", "julia", "python", "racket")
# A third of our own programs runs into its limit; Julia's compiler needs its time.
OWN_LIMIT_S = {"julia": 2.5, "racket": 1.5}
# Where warm and cold may differ. V8's own limit on its heap ends a program sooner than the one on address space.
MAY_DIFFER = {"unserialisable", "output_limit", "memory", "error", "crash", "exit", "timeout"}
# Whose outcome no two runs share.
RACES = {"thread_mutates_value", "alarm_storm", "reenters"}


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


def limits_for(corpus, language, cold):
    if corpus == "shared" or cold:
        return LIMITS
    limit_s = OWN_LIMIT_S.get(language, 0.8)
    return dataclasses.replace(LIMITS, wall_s=4 * limit_s, cpu_s=limit_s)


# A third of these programs runs into its limit.
PATIENT = [pytest.param("own", name, marks=pytest.mark.slow) for name in ("julia", "racket")]


@pytest.mark.parametrize(
    ("corpus", "language"),
    [*(("shared", name) for name in ATTACKED), ("own", "javascript"), ("own", "python"), *PATIENT],
)
@WARM_AND_COLD
def test_corpus(language, corpus, cold, canaries):
    attacks = load_attacks(corpus, language)
    wrong = []
    before = descendants(os.getpid())
    with Pool(language, workers=1, limits=limits_for(corpus, language, cold), cold=cold) as pool:
        memory_mib = resident_mib()
        for attack in attacks:
            verdict = pool.submit(attack.job).result()
            wrong += attack.faults(verdict)
            value_job = attack.value_job(verdict)
            if value_job is not None and pool.submit(value_job).result().correct is not True:
                wrong.append(f"{attack.name} claims {verdict.values}")
            after = pool.submit(identity_job(language)).result()
            if after.values != (LANGUAGES[language].identity_output,):
                wrong.append(f"after {attack.name}: {after}")
        assert resident_mib() - memory_mib < 16
        inside = descendants(os.getpid(), before)
    assert wrong == []
    assert still_running(inside) == []


@pytest.mark.parametrize(
    "language", ["python", *(pytest.param(name, marks=pytest.mark.slow) for name in ATTACKED if name != "python")]
)
@WARM_AND_COLD
def test_benign_programs_among_attacks_give_their_values(language, cold, canaries):
    attacks = [attack for corpus in ("shared", "own") for attack in load_attacks(corpus, language)]
    order = random.Random(language)
    # Attacks that run into their limit are a few of the many: what is tried is a pool under load, not its patience.
    patient = [attack for attack in attacks if "timeout" in attack.expect]
    attacks = [attack for attack in attacks if "timeout" not in attack.expect] + order.sample(patient, 6)
    jobs = [dataclasses.replace(attack.job, id=f"attack {attack.name}") for attack in attacks]
    source = LANGUAGES[language].identity
    benign = 4 * len(attacks)
    jobs += [Job(str(number), JobKind.EVALUATE, source, (str(number),), (str(number),)) for number in range(benign)]
    order.shuffle(jobs)
    limits = limits_for("own", language, cold)
    wrong, expected = [], {f"attack {attack.name}": attack for attack in attacks}
    before = descendants(os.getpid())
    with Pool(language, workers=2, limits=limits, cold=cold) as pool:
        for verdict in pool.run(jobs):
            if verdict.id in expected:
                # Under load any attack may be slow; what it may not do is succeed.
                if verdict.status is not Status.TIMEOUT:
                    wrong += expected[verdict.id].faults(verdict)
            elif (verdict.values, verdict.correct) != ((verdict.id,), True):
                wrong.append(f"benign: {verdict}")
        inside = descendants(os.getpid(), before)
    assert wrong == []
    assert still_running(inside) == []


@pytest.mark.slow
@pytest.mark.parametrize("language", ATTACKED)
def test_cold_and_warm_agree_on_the_corpora(language, canaries):
    attacks = [attack for corpus in ("shared", "own") for attack in load_attacks(corpus, language)]
    outcomes = []
    for cold in (False, True):
        with Pool(language, workers=2, limits=LIMITS, cold=cold) as pool:
            outcomes.append(pool.run_all(attack.job for attack in attacks))
    for attack, warm, cold in zip(attacks, *outcomes, strict=True):
        assert attack.faults(warm) == attack.faults(cold) == []
        if attack.name in RACES:
            continue
        if word(warm.status) != word(cold.status):
            assert {word(warm.status), word(cold.status)} <= MAY_DIFFER & set(attack.expect), (attack.name, warm, cold)
        elif attack.value is not None:
            assert warm.values == cold.values


def test_late_work_of_a_program_never_happens(canaries):
    """Threads, hooks and timers that programs left behind would have written by now."""
    source = (
        "import threading, time, atexit\n"
        "def late():\n    time.sleep(0.3)\n    open('/var/tmp/azr_canary/late', 'w').write('x')\n"
        "atexit.register(late)\nthreading.Thread(target=late).start()\ndef f(x):\n    return x\n"
    )
    for cold in (False, True):
        with Pool("python", workers=1, limits=LIMITS, cold=cold) as pool:
            assert pool.submit(Job("late", JobKind.EVALUATE, source, ("7",))).result().values == ("7",)
            time.sleep(0.5)
