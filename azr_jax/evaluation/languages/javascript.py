"""JavaScript: assert.deepEqual.

Values are passed in V8's serialisation, which keeps all that deepEqual compares, but no functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from azr_jax.evaluation.languages.record import (
    BenchmarkLanguage,
    Form,
    Instrument,
    Outcome,
    Tests,
    WholeRun,
    replay_by_template,
)


def _collect(program: str, tests: Tests) -> str:
    """Wraps the program in a function, as Node does, so that the f that is called is not the program's."""
    if program.startswith("#!"):
        program = "//" + program
    cases = "\n".join(f"case {number}: return {call};" for number, call in enumerate(tests.calls))
    return f"""let f;
(function (azr_give, exports, require, module, __filename, __dirname) {{{program}
const assert = require('node:assert');


function test(azr_call) {{
  let candidate = {tests.function};
  switch (azr_call) {{
{cases}
  }}
}}
azr_give((azr_call) => require('node:v8').serialize(test(azr_call)).toString('base64'));
}}).call(exports, (give) => {{ f = give; }}, exports, require, module, __filename, __dirname);
"""


def _compare(tests: Tests) -> str:
    thunks = ",\n".join(f"() => ({expected})" for expected in tests.expected)
    return f"""const assert = require('node:assert');
const v8 = require('node:v8');
const expected = [
{thunks}];
function f(value) {{
  const next = expected.shift();
  try {{
    assert.deepEqual(v8.deserialize(Buffer.from(value, 'base64')), next());
    return true;
  }} catch {{
    return false;
  }}
}}
"""


# The tests' calls reach a function of the same name in a scope of their own.
_REPLAY = """let f;
(function (azr_give, exports, require, module, __filename, __dirname) { {{program}}
const azr_count = {{count}}, azr_calls = [];
let azr_at = 0;
const azr_real = {{name}};
const azr_stand_in = (...given) => {
  if (azr_count) return azr_calls[azr_at++];
  azr_calls.push(structuredClone(given));
  return azr_real(...given);
};
const azr_tests = ({{name}}) => {
{{tests}}
};
if (!azr_count) azr_tests(azr_stand_in);
azr_give((azr_value) => {
  if (!azr_count) return azr_value < 0 ? azr_calls.length : azr_calls[azr_value];
  azr_calls.push(require('node:v8').deserialize(Buffer.from(azr_value, 'base64')));
  if (azr_calls.length < azr_count) return true;
  azr_tests(azr_stand_in);
  return azr_at === azr_count;
});
}).call(exports, (give) => { f = give; }, exports, require, module, __filename, __dirname);
"""
# A completion that names one of these may go on after its last call: `node FILE` runs it to its end.
_GOES_ON = re.compile(
    r"setTimeout|setInterval|setImmediate|Promise|async|await|nextTick|queueMicrotask|Worker|process|import\b|\.on\b"
    r"|require|constructor|\[\s*['\"`]|globalThis|eval|Function"
)


def _needs_its_own_end(completion: str) -> bool:
    """Whether code after the last call may matter: timers, rejections, exit hooks."""
    return _GOES_ON.search(completion) is not None


def _whole(program: str, tests: Tests, mark: str) -> str:
    """A whole program for `node FILE` that writes a line `mark number value` for each call."""
    calls = "\n".join(f"  azr_give({number}, {call});" for number, call in enumerate(tests.calls))
    return f"""{program}
const assert = require('node:assert');


function test() {{
  let candidate = {tests.function};
  const {{ serialize }} = require('node:v8');
  const {{ writeSync }} = require('node:fs');
  const azr_write = (text) => {{
    for (let bytes = Buffer.from(text); bytes.length > 0;) {{
      try {{
        bytes = bytes.subarray(writeSync(1, bytes));
      }} catch (error) {{
        if (error.code !== 'EAGAIN') throw error;
      }}
    }}
  }};
  const azr_give = (number, value) => azr_write(`\\n{mark} ${{number}} ${{serialize(value).toString('base64')}}\\n`);
{calls}
}}

test();
"""


def _values(stdout: str, mark: str, calls: int) -> Sequence[str] | None:
    """The values that `_whole` wrote, as literals for `compare`; None if there is not one for each call, in order."""
    lines = [line.split(" ") for line in stdout.split("\n") if line.startswith(f"{mark} ")]
    if [line[1:2] for line in lines] != [[str(number)] for number in range(calls)]:
        return None
    values = [line[2] if len(line) == 3 else "" for line in lines]
    return (
        [f'"{value}"' for value in values] if all(re.fullmatch(r"[A-Za-z0-9+/=]+", value) for value in values) else None
    )


def _word(outcome: Outcome) -> str:
    if outcome.timeout:
        return "Timeout"
    if outcome.exit_code == 0:
        return "OK"
    text = outcome.stdout + outcome.stderr
    marks = {"ERR_ASSERTION": "AssertionError", "SyntaxError": "SyntaxError", "ReferenceError": "ReferenceError"}
    return next((word for mark, word in marks.items() if mark in text), "Exception")


LANGUAGE = BenchmarkLanguage(
    name="javascript",
    timeout_s=5.0,
    word=_word,
    drained=True,
    form=Form(
        re.compile(
            r"\s*const assert = require\('node:assert'\);\s+function test\(\) \{\n\s*let candidate = ([^;\n]+);\n"
            r"(.*)\n\}\s+test\(\);\s*\Z",
            re.DOTALL,
        ),
        "assert.deepEqual(",
        re.compile(r",\s*"),
        re.compile(r"\);"),
    ),
    instrument=Instrument(_collect, _compare, whole_run=WholeRun(_needs_its_own_end, _whole, _values), readable=False),
    replay=replay_by_template(_REPLAY, "candidate(...{{arguments}})"),
    wrong_body="    return undefined;\n}\n",
    print_mark='console.log("{{mark}}");',
    before_tests='console.assert = (right) => { if (!right) throw new Error("console.assert failed"); };\n',
    test_function=r"^function (\w+)\(\)",
)
