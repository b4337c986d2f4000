"""Python: HumanEval+ and MBPP+, which EvalPlus judges by inputs and a reference solution (judging/evalplus.py)."""

from __future__ import annotations

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Instrument, Replay, Tests

# unittest.main ends the program, with 0 if all is well, and looks for tests in the module that was started.
_BEFORE_TESTS = """import unittest as azr_unittest
def azr_main(*given, **named):
    made = [case for case in globals().values() if isinstance(case, type) and issubclass(case, azr_unittest.TestCase)]
    result = azr_unittest.TestResult()
    azr_unittest.TestSuite(map(azr_unittest.defaultTestLoader.loadTestsFromTestCase, made)).run(result)
    assert result.testsRun and result.wasSuccessful(), result.failures + result.errors
azr_unittest.main = azr_main
"""


def _collect(program: str, tests: Tests) -> str:
    """The program has names of its own, its f included."""
    cases = ", ".join(f"lambda candidate: {call}" for call in tests.calls)
    return f"""azr_names = {{"__name__": "__main__"}}
exec({program!r}, azr_names)
def f(azr_call):
    return [{cases}][azr_call](azr_names[{tests.function!r}])
"""


def _replay(program: str, name: str, tests: str, count: int) -> str:
    return f"""import copy as azr_copy
azr_names = {{"__name__": "__main__"}}
exec({program!r}, azr_names)
azr_calls, azr_at = [], 0
def azr_stand_in(*given):
    global azr_at
    if {count}:
        azr_at += 1
        return azr_calls[azr_at - 1]
    azr_calls.append(azr_copy.deepcopy(given))
    return azr_names[{name!r}](*given)
def azr_tests():
    exec({tests!r}, {{**azr_names, {name!r}: azr_stand_in}})
if not {count}:
    azr_tests()
def f(value):
    if not {count}:
        return len(azr_calls) if value < 0 else azr_calls[value]
    azr_calls.append(value)
    if len(azr_calls) == {count}:
        azr_tests()
        return azr_at == {count}
    return True
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
    instrument=Instrument(_collect, right="True"),
    replay=Replay(_replay, "candidate(*{{arguments}})"),
    print_mark='print("{{mark}}")',
    before_tests=_BEFORE_TESTS,
    test_function=r"^def (\w+)\(\)",
)
