"""Every program of the attack corpora ends in an acceptable outcome and leaves no trace, in every language they have.

One file, so that one process of a parallel run owns the canaries.
"""

import contextlib
import dataclasses
import os
import random
import socket
import threading
import time

import pytest
from conftest import BY_NAME, ci_in

from executors import LANGUAGES, Job, JobKind, Pool, Status
from tests.executors.attack_programs import (
    CANARY_DIR,
    CANARY_PORT,
    LIMITS,
    SECRET,
    has_corpus,
    identity_job,
    load_attacks,
    resident_mib,
    word,
)
from tests.executors.processes import descendants, still_running

WARM_AND_COLD = pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
ATTACKED = ("javascript", "julia", "python", "racket", *BY_NAME)
# A third of our own programs runs into its limit; Julia's compiler needs its time.
OWN_LIMIT_S = {"julia": 2.5, "racket": 1.5}
# The default run takes one in so many, and as many as it needs to meet every kind of end.
SAMPLE = 4
SAMPLE_LIMIT_S = {"julia": 1.5, "racket": 1.0}
# Where warm and cold may differ. V8's own limit on its heap ends a program sooner than the one on address space.
MAY_DIFFER = {"unserialisable", "output_limit", "memory", "error", "crash", "exit", "timeout"}
# Whose outcome no two runs share.
RACES = {"thread_mutates_value", "alarm_storm", "reenters", "changes_while_written"}


@pytest.fixture
def canaries(monkeypatch):
    """The canaries of the corpus: a secret in the environment, an open folder that stays empty, a silent listener."""
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


def both_corpora(language):
    """Our own programs, and those of the other corpus where there is one."""
    return [
        attack
        for corpus in ("shared", "own")
        if has_corpus(corpus, language)
        for attack in load_attacks(corpus, language)
    ]


def sample(attacks):
    chosen = attacks[::SAMPLE]
    for attack in attacks:
        if attack.expect[0] not in {taken.expect[0] for taken in chosen}:
            chosen.append(attack)
    return chosen


def faults(pool, attack, verdict):
    """What is wrong with a verdict, the value that it claims included."""
    value_job = attack.value_job(verdict)
    if value_job is not None and pool.submit(value_job).result().correct is not True:
        return [f"{attack.name} claims {verdict.values}"]
    return attack.faults(verdict)


@contextlib.contextmanager
def leaves_nothing(pool):
    """Afterwards the parent's memory is as it was, and with the pool all processes inside are gone."""
    before = descendants(os.getpid())
    with pool:
        memory_mib = resident_mib()
        yield
        assert resident_mib() - memory_mib < 16
        inside = descendants(os.getpid(), before)
    assert still_running(inside) == []


def one_by_one(language, attacks, limits, cold=False):
    wrong = []
    pool = Pool(language, workers=1, limits=limits, cold=cold)
    with leaves_nothing(pool):
        for attack in attacks:
            wrong += faults(pool, attack, pool.submit(attack.job).result())
            after = pool.submit(identity_job(language)).result()
            if after.values != (LANGUAGES[language].identity_output,):
                wrong.append(f"after {attack.name}: {after}")
    assert wrong == []


def among_benign(language, attacks, limits, cold=False):
    order = random.Random(language)
    jobs = [dataclasses.replace(attack.job, id=f"attack {attack.name}") for attack in attacks]
    source = LANGUAGES[language].identity
    benign = 4 * len(attacks)
    jobs += [Job(str(number), JobKind.EVALUATE, source, (str(number),), (str(number),)) for number in range(benign)]
    order.shuffle(jobs)
    wrong, expected = [], {f"attack {attack.name}": attack for attack in attacks}
    pool = Pool(language, workers=2, limits=limits, cold=cold)
    with leaves_nothing(pool):
        for verdict in pool.run(jobs):
            if verdict.id in expected:
                # Under load any attack may be slow; what it may not do is succeed.
                if verdict.status is not Status.TIMEOUT:
                    wrong += faults(pool, expected[verdict.id], verdict)
            elif (verdict.values, verdict.correct) != ((verdict.id,), True):
                wrong.append(f"benign: {verdict}")
    assert wrong == []


@pytest.mark.parametrize("language", ci_in(ATTACKED, "julia", "racket", *BY_NAME))
def test_sample_of_the_corpora(language, canaries):
    limit_s = SAMPLE_LIMIT_S.get(language, 0.5)
    limits = dataclasses.replace(LIMITS, wall_s=4 * limit_s, cpu_s=limit_s)
    chosen = sample(both_corpora(language))
    if language == "julia":
        # Beside programs that sleep, and for a second hash seed, the pool would start other processes, for seconds of
        # compiling each.
        chosen = [attack for attack in chosen if "nondeterministic" not in attack.expect]
        one_by_one(language, chosen, dataclasses.replace(limits, wall_s=2 * limit_s))
    else:
        among_benign(language, chosen, limits)


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["shared", "own"])
@pytest.mark.parametrize("language", ATTACKED)
@WARM_AND_COLD
def test_corpus(language, corpus, cold, canaries):
    one_by_one(language, load_attacks(corpus, language), limits_for(corpus, language, cold), cold)


@pytest.mark.slow
@pytest.mark.parametrize("language", ATTACKED)
@WARM_AND_COLD
def test_benign_programs_among_attacks_give_their_values(language, cold, canaries):
    attacks = both_corpora(language)
    # Attacks that run into their limit are a few of the many: what is tried is a pool under load, not its patience.
    patient = [attack for attack in attacks if "timeout" in attack.expect]
    attacks = [attack for attack in attacks if "timeout" not in attack.expect]
    attacks += random.Random(language).sample(patient, 6)
    among_benign(language, attacks, limits_for("own", language, cold), cold)


@pytest.mark.slow
@pytest.mark.parametrize("language", ATTACKED)
def test_cold_and_warm_agree_on_the_corpora(language, canaries):
    attacks = both_corpora(language)
    outcomes = []
    for cold in (False, True):
        with Pool(language, workers=2, limits=dataclasses.replace(LIMITS, wall_s=20.0), cold=cold) as pool:
            outcomes.append(pool.run_all(attack.job for attack in attacks))
    for attack, warm, cold in zip(attacks, *outcomes, strict=True):
        assert attack.faults(warm) == attack.faults(cold) == []
        if attack.name in RACES:
            continue
        if word(warm.status) != word(cold.status):
            assert {word(warm.status), word(cold.status)} <= MAY_DIFFER & set(attack.expect), (attack.name, warm, cold)
        elif attack.value is not None:
            assert warm.values == cold.values


def test_work_that_a_program_schedules_for_later_never_runs(canaries):
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
