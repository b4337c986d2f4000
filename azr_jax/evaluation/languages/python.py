"""Python: HumanEval+ and MBPP+, which EvalPlus judges by inputs and a reference solution (judging/evalplus.py)."""

from __future__ import annotations

from azr_jax.evaluation.languages.record import BenchmarkLanguage

# 60 s are EvalPlus' limit of a problem. Here it is of the CPU, and a busy machine has three times that of the clock.
LANGUAGE = BenchmarkLanguage(
    name="python",
    timeout_s=60.0,
    in_multipl_e=False,
    clock_factor=3.0,
    memory_mib=4096,
    value_chars=1 << 22,
)
