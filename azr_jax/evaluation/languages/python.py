"""Python: HumanEval+ and MBPP+, which EvalPlus judges by inputs and a reference solution (judging/evalplus.py)."""

from __future__ import annotations

from azr_jax.evaluation.languages.record import BenchmarkLanguage

# unittest.main ends the program, with 0 if all is well.
_BEFORE_TESTS = """import unittest as azr_unittest
def azr_main(*given, azr_main=azr_unittest.main, **named):
    assert azr_main(*given, exit=False, **named).result.wasSuccessful()
azr_unittest.main = azr_main
"""
# EvalPlus' limit of a problem is 60 s: here of CPU time, with three times as much wall time for a busy machine.
LANGUAGE = BenchmarkLanguage(
    name="python",
    wrong_body="    return None\n",
    timeout_s=60.0,
    in_multipl_e=False,
    clock_factor=3.0,
    memory_mib=4096,
    value_chars=1 << 22,
    print_mark='print("{{mark}}")',
    before_tests=_BEFORE_TESTS,
)
