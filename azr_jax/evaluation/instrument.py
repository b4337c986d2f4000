"""The programs of a sound judgement: `collect` makes the tests' calls, `compare` says which results are right.

The collecting program is the completion with the tests' calls behind it, in the same scope and order as in MultiPL-E's
program, but without what they must equal; the pool calls its `f` with the number of each call and takes the values. The
comparing program never meets the completion: it reads those values as data, in a clean process, and compares them with
the benchmark's own equality (check-within, @test with ==, assert.deepEqual).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

from azr_jax.evaluation.assertions import Tests


@dataclasses.dataclass(frozen=True, slots=True)
class Instrument:
    """How a language's calls are collected and compared.

    collect: from program and tests to a source whose f(call_input(k)) makes call k. compare: from tests to a source
    whose f gets the values one after another and answers `right` for each that is as expected.
    unloadable: why the language's own command can't load a program as a file, or an empty text.
    """

    collect: Callable[[str, Tests], str]
    compare: Callable[[Tests], str]
    call_input: Callable[[int], str]
    right: str
    unloadable: Callable[[str], str] = lambda program: ""


# Racket.

_RACKET_NAMES_F = re.compile(r"(?:^|[\s()\[\]{}'`,@])f(?=[\s()\[\]{}])")
# What the reader skips before a #lang: space, comments of a line and of a (not nested) block, a shell's first line.
_RACKET_SKIPPED = (
    r"\ufeff?(?:\s++|;[^\n]*\n|\#\|(?:(?!\|\#|\#\|).)*+\|\#|\#![ /][^\n]*\n|\#;\s*+(?:\([^()]*+\)|[^\s()\#;]++))*+"
)
RACKET_LANG = re.compile(_RACKET_SKIPPED + r"(?:#lang\s+|#!(?=\w))(\S+)", re.DOTALL)
RACKET_MODULE = re.compile(_RACKET_SKIPPED + r"\(module\s", re.DOTALL)
_RACKET_NEEDS_RACKUNIT = re.compile(r"check-|test-|fail")

# The pool writes mutable hashes as immutable ones; to check-within they are never equal.
_RACKET_SHOWN = """(define (azr-shown v)
  (cond
    [(pair? v) (cons (azr-shown (car v)) (azr-shown (cdr v)))]
    [(vector? v) (list->vector (map azr-shown (vector->list v)))]
    [(hash? v) (if (immutable? v)
                   (for/fold ([h v]) ([(k w) (in-hash v)]) (hash-set h k (azr-shown w)))
                   (vector 'azr-mutable-hash (hash-count v)))]
    [else v]))
"""


def _racket_unloadable(program: str) -> str:
    if RACKET_LANG.match(program) or RACKET_MODULE.match(program):
        return ""
    return "the program does not start with a #lang line: `racket FILE` can't load it"


def _racket_collect(program: str, tests: Tests) -> str:
    """Where the program may have an f of its own it becomes a submodule, which takes longer."""
    require = "(require rackunit)\n" if _RACKET_NEEDS_RACKUNIT.search(program) else ""
    lang = RACKET_LANG.match(program)
    name = "azr-call" if lang and _RACKET_NAMES_F.search(program) else "f"
    clauses = "\n".join(f"[({number}) {call}]" for number, call in enumerate(tests.calls))
    made = f"(let ((candidate {tests.function}))\n(case azr-call-number\n{clauses}\n))"
    # What does not speak of hashes makes none, and may have names of its own for what azr-shown uses.
    shown, definition = (f"(azr-shown {made})", _RACKET_SHOWN) if "hash" in program else (made, "")
    body = f"\n{require}(define ({name} azr-call-number)\n{shown})\n{definition}"
    if name == "f":
        return program.removeprefix("\ufeff") + body
    assert lang is not None
    inner = f"(module azr-program {lang[1]}\n{program[lang.end() :]}{body}\n(provide azr-call)\n)\n"
    return f'#lang racket/base\n{inner}(require (rename-in (submod "." azr-program) [azr-call f]))\n'


def _racket_compare(tests: Tests) -> str:
    """The equal?/within of rackunit 8.7, without the cost of loading rackunit."""
    pairs = zip(tests.expected, tests.tolerance, strict=True)
    thunks = "\n".join(f"(cons (lambda () {expected}) {tolerance})" for expected, tolerance in pairs)
    return f"""#lang racket
(define (same? a b delta)
  (let same ([a a] [b b])
    (if (and (number? a) (number? b))
        (<= (magnitude (- a b)) delta)
        (equal?/recur a b same))))
(define expected (list
{thunks}))
(define (f value)
  (define next (car expected))
  (set! expected (cdr expected))
  (with-handlers ([void (lambda (_) #f)])
    (same? value ((car next)) (cdr next))))
"""


# Julia.

_JULIA_BINDS_F = re.compile(
    r"^\s*(?:(?:const|global)\s+)?(?:\w+\s*,\s*)*f\s*(?:,[\w\s,]+)?=(?![=>])|\b(?:struct|module|type|import|using)\b.*\bf\b",
    re.MULTILINE,
)
_JULIA_CALL = "azr_call::NamedTuple{(:azr_call,),Tuple{Int64}}"


def _julia_collect(program: str, tests: Tests) -> str:
    """A method of f for a type that no program uses, so that an f of the program's own stays as it is.

    Where that may be no function, the program is in a module of its own.
    """
    cases = "\n".join(f"azr_call.azr_call == {number} && return {call}" for number, call in enumerate(tests.calls))
    inner = f"candidate = {tests.function}\n{cases}\nend\n"
    if _JULIA_BINDS_F.search(program):
        module = f"module AzrProgram\n{program}\nusing Test\nfunction azr_f({_JULIA_CALL})\n{inner}end\n"
        return f"{module}f({_JULIA_CALL}) = AzrProgram.azr_f(azr_call)\n"
    return f"{program}\nusing Test\nfunction f({_JULIA_CALL})\n{inner}"


def _julia_compare(tests: Tests) -> str:
    thunks = ",\n".join(f"() -> {expected}" for expected in tests.expected)
    return f"""const AZR_EXPECTED = Function[
{thunks}]
function f(value)
    expected = popfirst!(AZR_EXPECTED)
    try
        return (value == expected()) === true
    catch
        return false
    end
end
"""


# JavaScript. Values travel as V8's own serialisation, which keeps what assert.deepEqual looks at and no functions.


def _javascript_collect(program: str, tests: Tests) -> str:
    """The program in a function of its own, as Node does it, so that its f is not the one that is called."""
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


def _javascript_compare(tests: Tests) -> str:
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


# Lua.


def _lua_collect(program: str, tests: Tests) -> str:
    """An f behind the program, local, so that what the program itself calls f stays what it is."""
    cases = "\n".join(f"if azr_call == {number} then return ({call}) end" for number, call in enumerate(tests.calls))
    return (
        f"{program}\nlocal azr_candidate = {tests.function}\n"
        f"local function f(azr_call)\nlocal candidate = azr_candidate\n{cases}\nend\n"
    )


def _lua_compare(tests: Tests) -> str:
    """The equality of luaunit 3.4's assertEquals: == for all but tables, and tables by their keys and values."""
    thunks = ",\n".join(f"function() return {expected} end" for expected in tests.expected)
    return f"""local expected, at = {{
{thunks}}}, 0
local function same(actual, wanted)
  if type(actual) ~= "table" or type(wanted) ~= "table" then return actual == wanted end
  for key, value in next, actual do
    if not same(value, wanted[key]) then return false end
  end
  for key in next, wanted do
    if actual[key] == nil then return false end
  end
  return true
end
function f(value)
  at = at + 1
  local made, wanted = pcall(expected[at])
  return made and same(value, wanted)
end
"""


# R.


def _r_collect(program: str, tests: Tests) -> str:
    """An f that answers the number of a call, and otherwise is the program's own f, if it has one."""
    cases = "\n".join(f"if (azr_call == {number}) return({call})" for number, call in enumerate(tests.calls))
    return f"""{program}
f <- local({{
azr_own <- if (exists("f", mode = "function")) f else NULL
azr_test <- function(azr_call) {{
candidate <- {tests.function}
{cases}
}}
function(...) {{
  azr_first <- if (...length() == 1L) ..1 else NULL
  if (is.list(azr_first) && identical(names(azr_first), "azr_call")) azr_test(azr_first$azr_call) else azr_own(...)
}}
}})
"""


def _r_compare(tests: Tests) -> str:
    thunks = ",\n".join(f"function() {expected}" for expected in tests.expected)
    return f"""azr_expected <- list(
{thunks})
azr_at <- 0L
f <- function(value) {{
  azr_at <<- azr_at + 1L
  tryCatch(isTRUE(all.equal(value, azr_expected[[azr_at]]())), error = function(e) FALSE)
}}
"""


# OCaml.


def _ocaml_collect(program: str, tests: Tests) -> str:
    """An f behind the program; what the program itself calls f stays what it is, names being bound once for all."""
    cases = "\n".join(f"| {number} -> {call}" for number, call in enumerate(tests.calls))
    inner = f"let candidate = {tests.function} in\nmatch azr_call with\n{cases}\n| _ -> assert false\n"
    return f"{program}\nlet f azr_call =\n{inner}"


def _ocaml_compare(tests: Tests) -> str:
    """A value of another type than what is expected is refused by the typing, as in the tests themselves."""
    cases = "\n".join(f"| {number} -> {expected}" for number, expected in enumerate(tests.expected))
    return f"""let azr_at = ref (-1)
let f value =
  incr azr_at;
  value = (match !azr_at with
{cases}
| _ -> assert false)
"""


# What a program must not do in a process that ends when the calls are made: it is run by `node FILE` to its own end.
_JAVASCRIPT_HAS_AN_AFTERLIFE = re.compile(
    r"setTimeout|setInterval|setImmediate|Promise|async|await|nextTick|queueMicrotask|Worker|process|import\b|\.on\b"
    r"|require|constructor|\[\s*['\"`]|globalThis|eval|Function"
)


def javascript_needs_its_own_end(completion: str) -> bool:
    """Whether what happens after the last call may matter: timers, rejections, exit hooks."""
    return _JAVASCRIPT_HAS_AN_AFTERLIFE.search(completion) is not None


def javascript_whole(program: str, tests: Tests, mark: str) -> str:
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


def javascript_values(stdout: str, mark: str, calls: int) -> Sequence[str] | None:
    """The values that `javascript_whole` wrote, as literals for `compare`; None when not one a call, in order."""
    lines = [line.split(" ") for line in stdout.split("\n") if line.startswith(f"{mark} ")]
    if [line[1:2] for line in lines] != [[str(number)] for number in range(calls)]:
        return None
    values = [line[2] if len(line) == 3 else "" for line in lines]
    return (
        [f'"{value}"' for value in values] if all(re.fullmatch(r"[A-Za-z0-9+/=]+", value) for value in values) else None
    )


INSTRUMENTS = {
    "rkt": Instrument(_racket_collect, _racket_compare, str, "#t", _racket_unloadable),
    "jl": Instrument(_julia_collect, _julia_compare, "(azr_call = {},)".format, "true"),
    "js": Instrument(_javascript_collect, _javascript_compare, str, "true"),
    "ml": Instrument(_ocaml_collect, _ocaml_compare, str, "true"),
    "r": Instrument(_r_collect, _r_compare, "list(azr_call = {}L)".format, "TRUE"),
    "lua": Instrument(_lua_collect, _lua_compare, str, "true"),
}
