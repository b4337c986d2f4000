"""Programs with several arguments, keyword arguments and expressions as inputs, for every language but Python.

`CASES[language]` are (program, inputs); `CHECKS[language]` makes a whole program of a case and the values that the
executors gave: it prints the numbers of the inputs for which the interpreter itself has another value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

Case = tuple[str, tuple[str, ...]]

CASES: dict[str, list[Case]] = {}
for _line in Path(__file__).with_suffix(".jsonl").read_text().splitlines():
    _case = json.loads(_line)
    CASES.setdefault(_case["language"], []).append((_case["program"], tuple(_case["inputs"])))


def _javascript(program: str, inputs: Sequence[str], values: Sequence[str]) -> str:
    tests = "".join(
        f"if (!same(f({text}), {value})) console.log({number});\n"
        for number, (text, value) in enumerate(zip(inputs, values, strict=True))
    )
    return f"const same = require('util').isDeepStrictEqual;\n{program}\n{tests}"


def _julia(program: str, inputs: Sequence[str], values: Sequence[str]) -> str:
    tests = "".join(
        f"isequal(f({text}), {value}) || println({number})\n"
        for number, (text, value) in enumerate(zip(inputs, values, strict=True))
    )
    return f"{program}\n{tests}"


def _racket(program: str, inputs: Sequence[str], values: Sequence[str]) -> str:
    tests = "".join(
        f"(unless (equal? (f {text}) {value}) (displayln {number}))\n"
        for number, (text, value) in enumerate(zip(inputs, values, strict=True))
    )
    return f"#lang racket\n{program}\n{tests}"


def _lua(program: str, inputs: Sequence[str], values: Sequence[str]) -> str:
    same = """local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b and math.type(a) == math.type(b) end
  for key, value in pairs(a) do if not same(value, b[key]) then return false end end
  for key in pairs(b) do if a[key] == nil then return false end end
  return true
end
"""
    tests = "".join(
        f"if not same((f({text})), {value}) then print({number}) end\n"
        for number, (text, value) in enumerate(zip(inputs, values, strict=True))
    )
    return f"{same}{program}\n{tests}"


def _ocaml(program: str, inputs: Sequence[str], values: Sequence[str]) -> str:
    tests = "".join(
        f"let () = if compare (f {text if not text.startswith('-') else f'({text})'}) ({value}) <> 0"
        f' then print_endline "{number}"\n'
        for number, (text, value) in enumerate(zip(inputs, values, strict=True))
    )
    return f"{program}\n{tests}"


def _r(program: str, inputs: Sequence[str], values: Sequence[str]) -> str:
    tests = "".join(
        f'if (!isTRUE(all.equal(f({text}), {value}, tolerance = 0))) cat({number}, "\\n")\n'
        for number, (text, value) in enumerate(zip(inputs, values, strict=True))
    )
    return f"{program}\n{tests}"


CHECKS: dict[str, Callable[[str, Sequence[str], Sequence[str]], str]] = {
    "javascript": _javascript, "julia": _julia, "racket": _racket, "lua": _lua, "ocaml": _ocaml, "r": _r,
}  # fmt: skip
