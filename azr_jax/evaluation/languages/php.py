"""PHP: ===."""

from __future__ import annotations

import re

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Form, Instrument, Outcome, Replay, Tests, filled

# An f that makes the call of a given number, and otherwise is the program's own f, which gets another name at its
# definition: names of functions are global and can't be defined again.
_OWN_F = re.compile(r"\bfunction(\s+&?\s*)f(?=\s*\()", re.IGNORECASE)
_TEST = """
function azr_test($azr_call) {
switch ($azr_call) {
{{cases}}
}
}
function candidate(...$args) {
return {{function}}(...$args);
}
function f(...$given) {
  $is_call = array_keys($given) === [0] && is_array($given[0]) && array_keys($given[0]) === ['azr_call'];
  return $is_call ? azr_test($given[0]['azr_call']) : azr_own_f(...$given);
}
"""
_COMPARE = """<?php
function azr_expected($azr_number) {
switch ($azr_number) {
{{expected}}
}
}
function f($value) {
  static $at = 0;
  try {
    return $value === azr_expected($at++);
  } catch (Throwable) {
    return false;
  }
}
"""

_REPLAY = """
class Azr {
  static $count = {{count}};
  static $calls = [];
  static $at = 0;
  static $inside = false;
}
function {{name}}(...$given) {
  if (Azr::$count) return Azr::$calls[Azr::$at++];
  if (Azr::$inside) return azr_real(...$given);
  Azr::$calls[] = $given;
  Azr::$inside = true;
  try { return azr_real(...$given); } finally { Azr::$inside = false; }
}
function azr_tests() {
{{tests}}
}
if (!Azr::$count) azr_tests();
function f($value) {
  if (!Azr::$count) return $value < 0 ? count(Azr::$calls) : Azr::$calls[$value];
  Azr::$calls[] = $value;
  if (count(Azr::$calls) < Azr::$count) return true;
  azr_tests();
  return Azr::$at === Azr::$count;
}
"""


def _opened(program: str) -> str:
    """The program with code still open at its end, where a ?> may have closed it."""
    return program + ("\n<?php\n" if program.rfind("?>") > program.rfind("<?") else "\n")


def _collect(program: str, tests: Tests) -> str:
    cases = "\n".join(f"case {number}: return {call};" for number, call in enumerate(tests.calls))
    program = _OWN_F.sub(r"function\1azr_own_f", program)
    function = "azr_own_f" if tests.function.lower() == "f" else tests.function
    return _opened(program) + filled(_TEST, cases=cases, function=function)


def _compare(tests: Tests) -> str:
    cases = (f"case {number}: return {text};" for number, text in enumerate(tests.expected))
    return filled(_COMPARE, expected="\n".join(cases))


def _replay(program: str, name: str, tests: str, count: int) -> str:
    """The program's function gets another name at its definition, as for `f` above."""
    program = re.sub(rf"\bfunction(\s+&?\s*){re.escape(name)}(?=\s*\()", r"function\1azr_real", program, flags=re.I)
    return _opened(program) + filled(_REPLAY, name=name, tests=_opened(tests), count=count)


def _word(outcome: Outcome) -> str:
    if "PHP Parse error" in outcome.stdout:
        return "SyntaxError"
    return "OK" if outcome.exit_code == 0 else "Exception"


def _loadable(program: str) -> str:
    """A chat answer without a tag is code."""
    return program if re.search(r"<\?(?:php|=)", program) else f"<?php\n{program}"


LANGUAGE = BenchmarkLanguage(
    name="php",
    word=_word,
    form=Form(
        re.compile(
            r"\s*function candidate\(\.\.\.\$args\) \{\s*return ([^;\n]+?)\(\.\.\.\$args\);\s*\}\s+"
            r"function test\(\): void \{\n(.*)\n\}\s+test\(\);\s*\Z",
            re.DOTALL,
        ),
        "if (",
        re.compile(r" !== "),
        re.compile(r'\) \{ throw new Exception\("Test failed!"\); \}'),
        quotes="\"'",
    ),
    instrument=Instrument(_collect, _compare, call_input=lambda number: f'["azr_call" => {number}]'),
    replay=Replay(_replay, "candidate(...{{arguments}})"),
    loadable=_loadable,
    wrong_body="    return null;\n}\n",
    # Whether the tests end in code or after a ?>.
    print_mark='?><?php echo "{{mark}}";',
    test_function=r"^function (\w+)\(\)",
    call_test="{{name}}();",
)
