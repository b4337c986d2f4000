"""Programs are compiled in a run's first steps, and later steps wait for no compiler; so too after a resume."""

from __future__ import annotations

import re

import pytest

SETTINGS = {
    "evaluation__heldout": "azr_jax/embedded/heldout_python.jsonl",
    "evaluation__heldout_limit": 6,
    "evaluation__every": 2,
}
# Other programs: a critic and a reference, whose numbers are per token, and minibatches of unequal size.
CRITIC = {"learner__estimator": "gae", "learner__kl_coef": 0.01, "learner__kl_in": "reward", "learner__minibatches": 2}
CRITIC |= {"sampler__draft_rows": 16, "pipeline__lag": 1}  # and what drafts and a lag need
FIRST = 2  # the steps that may compile


def compiled_after(output: str, step: int) -> list[str]:
    """Programs compiled between the line of `step` and that of the last one."""
    _, *later = re.split(r"^step \d+/.*$", output, flags=re.MULTILINE)
    return re.findall(r"Compiling (\S+)", "".join(later[step - 1 : -1]))


@pytest.mark.ci
@pytest.mark.parametrize("changes", [{}, CRITIC], ids=["trrpp", "a critic, a reference, drafts and a lag"])
def test_no_step_after_the_second_compiles(command, tmp_path, monkeypatch, changes):
    monkeypatch.setenv("JAX_LOG_COMPILES", "1")
    for steps in (6, 12):
        status, output = command.run(tmp_path / "run", **SETTINGS, **changes, steps=steps)
        assert status == 0, output
        assert f"step {steps}/{steps}" in output and "Compiling jit(_decode)" in output
        assert compiled_after(output, FIRST) == []
