"""Judges that many tests share: a warm interpreter takes seconds to start."""

import contextlib

import pytest

from azr_jax.evaluation.judging import Judge

# Machines that run tests are loaded; Julia's own test sets take seconds to fail.
PATIENT_S = {"rkt": 30.0, "js": 15.0, "jl": 60.0, "py": 0.0}


@pytest.fixture(scope="session")
def sound_judge():
    """From a language's suffix to a sound judge of it, which stays open."""
    with contextlib.ExitStack() as stack:
        made = {}

        def judge(suffix):
            if suffix not in made:
                made[suffix] = stack.enter_context(Judge(suffix, timeout_s=PATIENT_S[suffix]))
            return made[suffix]

        yield judge
