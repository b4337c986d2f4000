"""An entry function of another name is renamed where there is exactly one, in every language."""

import time

import pytest
from conftest import ci_in

from azr_jax.selfplay.entry import definitions, with_entry_named_f
from executors import LANGUAGES, Job, JobKind, Limits, Pool

# A program whose only function has another name, calls itself, and names itself in a comment and in a string.
NAMED = {
    "python": ('def walk(n):  # walk down\n    return "walk" if n < 1 else walk(n - 1)', "3", "'walk'"),
    "javascript": ('const walk = (n) => n < 1 ? "walk" : walk(n - 1); // walk', "3", '"walk"'),
    "julia": ('function walk(n)\n    # walk\n    n < 1 ? "walk" : walk(n - 1)\nend', "3", '"walk"'),
    "lua": (
        '-- walk\nlocal function walk(n)\n  if n < 1 then return "walk" end\n  return walk(n - 1)\nend',
        "3",
        '"walk"',
    ),
    "r": ('# walk\nwalk <- function(n) {\n  if (n < 1) "walk" else walk(n - 1)\n}', "3", '"walk"'),
    "racket": ('; walk\n(define (walk-down n)\n  (if (< n 1) "walk-down" (walk-down (- n 1))))', "3", '"walk-down"'),
    "perl": ('sub walk { # walk\n    my ($n) = @_;\n    return $n < 1 ? "walk" : walk($n - 1);\n}', "3", '"walk"'),
    "php": ('<?php\nfunction walk($n) {\n    return $n < 1 ? "walk" : walk($n - 1); // walk\n}', "3", '"walk"'),
    "scheme": ('; walk\n(define (walk n)\n  (if (< n 1) "walk" (walk (- n 1))))', "3", '"walk"'),
    "ruby": ('def walk(n) # walk\n  n < 1 ? "walk" : walk(n - 1)\nend', "3", '"walk"'),
    "ocaml": ('(* walk *)\nlet rec walk n =\n  if n < 1 then "walk" else walk (n - 1)', "3", '"walk"'),
}
HELPER = {
    "python": "def f(n):\n    return n\n\n",
    "javascript": "function f(n) { return n; }\n",
    "julia": "f(n) = n\n",
    "lua": "local function f(n) return n end\n",
    "r": "f <- function(n) n\n",
    "racket": "(define (f n) n)\n",
    "perl": "sub f { return $_[0] }\n",
    "php": "<?php\nfunction f($n) { return $n; }\n?>",
    "scheme": "(define (f n) n)\n",
    "ruby": "def f(n) = n\n",
    "ocaml": "let f n = n\n",
}


def test_every_language_is_here():
    assert set(NAMED) == set(HELPER) == {name for name, language in LANGUAGES.items() if language.harness}


@pytest.mark.parametrize("name", ci_in(NAMED, "julia"))
def test_the_only_function_becomes_f_and_gives_the_same_value(name):
    language, (program, given, value) = LANGUAGES[name], NAMED[name]
    renamed = with_entry_named_f(language, program)
    assert definitions(language, renamed) == ["f"]
    assert with_entry_named_f(language, renamed) == renamed
    if language.find() is None:
        pytest.skip(f"no {name} interpreter here")
    with Pool(language, workers=1, limits=Limits(wall_s=20, cpu_s=10)) as pool:
        verdict = pool.submit(Job("1", JobKind.EVALUATE, renamed, (given,))).result()
    assert verdict.ok and verdict.values == (value,), verdict


@pytest.mark.parametrize("name", NAMED)
def test_a_program_that_has_f_or_several_functions_stays(name):
    language, program = LANGUAGES[name], NAMED[name][0]
    for other in (
        HELPER[name] + program,
        program.replace("walk", "w1") + "\n" + program,
        "",
        "no program",
        "(((((" * 99,
    ):
        assert with_entry_named_f(language, other) == other


@pytest.mark.parametrize(
    ("language", "program", "renamed"),
    [
        ("python", "go: Callable[[int], int] = lambda n: n", "f: Callable[[int], int] = lambda n: n"),
        ("javascript", "const go = (\n  n,\n  k = 2,\n) => n * k;", "const f = (\n  n,\n  k = 2,\n) => n * k;"),
        ("javascript", "const go = (n, k = h(2)) => n;\nconst m = (1 + 2) * 3;", "const f = (n, k = h(2)) => n;\n..."),
        ("julia", "go = (n, k) -> n * k", "f = (n, k) -> n * k"),
        ("julia", "@inline function go(n)\n    n\nend", "@inline function f(n)\n    n\nend"),
        ("julia", "Base.length(s::Stack) = 1\ngo(n) = n", "...\nf(n) = n"),
        ("lua", "function Stack.new(n) return n end\nfunction go(n) return n end", "...\nfunction f(n) return n end"),
        ("r", "go <- \\(n) n", "f <- \\(n) n"),
        (
            "racket",
            "(define/contract (go n)\n  (-> any/c any/c)\n  n)",
            "(define/contract (f n)\n  (-> any/c any/c)\n  n)",
        ),
        ("racket", "(define/match (go n)\n  [(0) 1])", "(define/match (f n)\n  [(0) 1])"),
        ("scheme", "(define* (go n #:key (k 1))\n  (+ n k))", "(define* (f n #:key (k 1))\n  (+ n k))"),
        ("ocaml", "let go : int -> int = fun n -> n", "let f : int -> int = fun n -> n"),
        ("ocaml", "let k : int = 5\nlet go=fun n -> n", "...\nlet f=fun n -> n"),
    ],
)
def test_a_function_is_found_however_it_is_defined_and_methods_are_none(language, program, renamed):
    lines = zip(program.split("\n"), renamed.split("\n"), strict=True)
    expected = "\n".join(line if new == "..." else new for line, new in lines)
    assert with_entry_named_f(LANGUAGES[language], program) == expected


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("export function f(n) { return n; }", "function f(n) { return n; }"),
        ("export default async function go(n) { return n; }", "async function f(n) { return n; }"),
        ("export const go = (n) => n;\nexport class A {}", "const f = (n) => n;\nclass A {}"),
        ("const go = (n) => n;\n\nexport default go;", "const f = (n) => n;"),
        ("function f(n) { return n; }\nexport { f, g as h };", "function f(n) { return n; }"),
        ("export default (n) => n;", "export default (n) => n;"),
        ("function f(n) { return `export ${n}`; }", "function f(n) { return `export ${n}`; }"),
        ("const exported = 1;\nfunction f(n) { return n; }", "const exported = 1;\nfunction f(n) { return n; }"),
    ],
)
def test_a_module_s_exports_are_left_out(program, expected):
    assert with_entry_named_f(LANGUAGES["javascript"], program) == expected


@pytest.mark.parametrize("spaces", [" " * 100_000, "\t \n" * 30_000])
def test_exports_are_looked_for_in_linear_time(spaces):
    begin_s = time.process_time()
    for text in ("export", "export default go", "export default async", "export {g}"):
        with_entry_named_f(LANGUAGES["javascript"], f"{text}{spaces}x")
    assert time.process_time() - begin_s < 2.0  # milliseconds; a quadratic step takes half a minute


def test_a_program_whose_method_has_the_same_name_stays():
    program = "class A:\n    def go(self):\n        return 1\n\n\ndef go(a):\n    return A().go() + a"
    assert with_entry_named_f(LANGUAGES["python"], program) == program


def test_a_program_that_uses_the_name_f_for_something_else_stays():
    program = "def g(x):\n    f = x\n    return f"
    assert with_entry_named_f(LANGUAGES["python"], program) == program


@pytest.mark.parametrize(
    ("language", "program"),
    [
        ("javascript", "function solve(x) { return {solve: 1, y: x}; }"),
        ("javascript", "function solve(x) {\n  return {y: x,\n    solve : 1};\n}"),
        ("ocaml", "let rec even n = n = 0 || odd (n - 1)\nand odd n = n <> 0 && even (n - 1)"),
    ],
)
def test_a_key_of_the_same_name_and_a_second_function_keep_a_program_as_it_is(language, program):
    assert with_entry_named_f(LANGUAGES[language], program) == program
