"""Julia: == under @test."""

from __future__ import annotations

import re

from azr_jax.evaluation.languages.record import (
    BenchmarkLanguage,
    Form,
    Instrument,
    Outcome,
    Tests,
    by_templates,
    replay_by_template,
)

_BINDS_F = re.compile(
    r"^\s*(?:(?:const|global)\s+)?(?:\w+\s*,\s*)*f\s*(?:,[\w\s,]+)?=(?![=>])|\b(?:struct|module|type|import|using)\b.*\bf\b",
    re.MULTILINE,
)
# A method of f for a type that no program uses, so that the program's own f is unchanged.
_CALL = "azr_call::NamedTuple{(:azr_call,),Tuple{Int64}}"
_INNER = "candidate = {{function}}\n{{cases}}\nend\n"
_PARTS = {
    "case": "azr_call.azr_call == {{number}} && return {{call}}",
    "compare": """const AZR_EXPECTED = Function[
{{expected}}]
function f(value)
    expected = popfirst!(AZR_EXPECTED)
    try
        return (value == expected()) === true
    catch
        return false
    end
end
""",
    "expected": "() -> {{expected}}",
    "call_input": "(azr_call = {{number}},)",
}
_BESIDE = by_templates(collect=f"{{{{program}}}}\nusing Test\nfunction f({_CALL})\n{_INNER}", **_PARTS)
# If f may be no function, the program is in a separate module.
_IN_MODULE = by_templates(
    collect=f"module AzrProgram\n{{{{program}}}}\nusing Test\nfunction azr_f({_CALL})\n{_INNER}end\n"
    f"f({_CALL}) = AzrProgram.azr_f(azr_call)\n",
    **_PARTS,
)

_REPLAY = """module AzrProgram
{{program}}
const azr_count, azr_calls, azr_at = {{count}}, Any[], Ref(0)
function azr_stand_in(given...)
    azr_count > 0 && return azr_calls[azr_at[] += 1]
    push!(azr_calls, deepcopy(given))
    return {{name}}(given...)
end
function azr_tests({{name}})
{{tests}}
end
azr_count == 0 && azr_tests(azr_stand_in)
function azr_f(value)
    azr_count == 0 && return value < 0 ? length(azr_calls) : azr_calls[value + 1]
    push!(azr_calls, value)
    length(azr_calls) < azr_count && return true
    azr_tests(azr_stand_in)
    return azr_at[] == azr_count
end
end
f(value) = AzrProgram.azr_f(value)
"""


def _collect(program: str, tests: Tests) -> str:
    return (_IN_MODULE if _BINDS_F.search(program) else _BESIDE).collect(program, tests)


def _word(outcome: Outcome) -> str:
    if outcome.timeout:
        return "Timeout"
    if outcome.exit_code == 0:
        return "OK"
    return "SyntaxError" if outcome.stderr else "Exception"


LANGUAGE = BenchmarkLanguage(
    name="julia",
    timeout_s=5.0,
    word=_word,
    form=Form(
        re.compile(r"\s*using Test\s+@testset begin\s+candidate = ([^;\n]+);\n(.*)\nend\s*\Z", re.DOTALL),
        "@test(",
        re.compile(r" == "),
        re.compile(r"\)"),
    ),
    instrument=Instrument(_collect, _BESIDE.compare, _BESIDE.call_input),
    replay=replay_by_template(_REPLAY, "candidate({{arguments}}...)"),
    faulty_stops=("\n\n",),
    wrong_body="    return nothing\nend\n",
    print_mark='println("{{mark}}")',
    test_function=r"^function (\w+)\(\)",
)
