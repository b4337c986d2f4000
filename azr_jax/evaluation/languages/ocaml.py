"""OCaml: = with its types, under assert."""

from __future__ import annotations

import re

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Form, Outcome, by_templates, word_by_exit_code

# An f after the program; the program's own f is unchanged, since names are bound statically.
_COLLECT = """{{program}}
let f azr_call =
let candidate = {{function}} in
match azr_call with
{{cases}}
| _ -> assert false
"""
# The type checker refuses a value of another type than the expected one, as in the tests themselves.
_COMPARE = """let azr_at = ref (-1)
let f value =
  incr azr_at;
  value = (match !azr_at with
{{expected}}
| _ -> assert false)
"""


def _word(outcome: Outcome) -> str:
    if outcome.timeout or outcome.exit_code == 0:
        return word_by_exit_code(outcome)
    marks = {"Assert_failure": "AssertionError", "Syntax error": "SyntaxError"}
    return next((word for mark, word in marks.items() if mark in outcome.stderr), "Exception")


LANGUAGE = BenchmarkLanguage(
    name="ocaml",
    word=_word,
    form=Form(
        re.compile(r"\s*let assertions =\s+let candidate = ([^\n]+) in\n(.*)\n\s*\(\)\s*\Z", re.DOTALL),
        "(assert (",
        re.compile(r" = "),
        re.compile(r"\)\);"),
        "(candidate",
    ),
    instrument=by_templates(
        collect=_COLLECT,
        case="| {{number}} -> {{call}}",
        compare=_COMPARE,
        expected="| {{number}} -> {{expected}}",
        expected_between="\n",
    ),
    faulty_stops=("\n\n",),
    wrong_body=' failwith "wrong"\n',
)
