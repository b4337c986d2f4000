"""JavaScript's part of test_conformance.py."""

import re

from executors import Status

SAMPLE = 2

VALUES = """
const made = {
    arithmetic: [7 % 3, -7 % 3, 2 ** 10, 1 / 4, 0.1 + 0.2, 5e-324, 7 | 8, ~~3.7],
    boolean: [true, false, 1 < 2],
    nothing: [undefined, null, void 0],
    empty: ['', [], {}, new Map(), new Set()],
    unicode: 'é😀\\t\\n"\\'',
    nul: 'a\\0b',
    invalid_utf8: '\\ud800',
    nan: NaN,
    negative_zero: -0,
    infinity: [Infinity, -Infinity],
    "1e22": 1e22,
    big_integer: -(7n ** 40n),
    nested: [[1, [2.5, {a: [3]}]], {b: {c: [null]}}],
    set: new Set([3, 1, 2, 'b', 'a']),
    hash: {z: 1, a: 2, 3: new Map([['y', 1], ['x', 2]])},
};
function f(name) {
    return made[name];
}
"""
CASES = {
    "arithmetic": "[1,-1,1024,0.25,0.30000000000000004,5e-324,15,3]",
    "boolean": "[true,false,true]",
    "nothing": "[undefined,null,undefined]",
    "empty": '["",[],{},new Map([]),new Set([])]',
    "unicode": '"é😀\\t\\n\\"\'"',
    "nul": '"a\\u0000b"',
    "invalid_utf8": '"\\ud800"',
    "nan": "NaN",
    "negative_zero": "-0",
    "infinity": "[Infinity,-Infinity]",
    "1e22": "1e+22",
    "big_integer": "-6366805760909027985741435139224001n",
    "nested": '[[1,[2.5,{"a":[3]}]],{"b":{"c":[null]}}]',
    "set": 'new Set(["a","b",1,2,3])',
    "hash": '{"3":new Map([["x",2],["y",1]]),"a":2,"z":1}',
}
CASES = {name: (VALUES, f'"{name}"', value) for name, value in CASES.items()}
ABSENT: dict[str, str] = {}

DISTINCT = ("1", "1n", "true", '"1"', "[1]", "new Set([1])", "{1: 1}", "new Map([[1, 1]])", "0", "-0", "0n", "false",
            "null", "undefined", '"null"', '""', "[]", "{}", "NaN", "Infinity")  # fmt: skip
SAME = (("[1, 2]", "[1,2]"), ("{b: 1, a: 2}", '{"a":2,"b":1}'), ("new Set([2, 1])", "new Set([1, 2])"), ("1.0", "1"),
        ("0x10", "16"), ("'a'", "`a`"))  # fmt: skip
NOT_VALUES = ("1) or True #", "1 || 2", "x", "f(1)", "() => 1", "require('fs')", "1; 2", "", "`${1}`", "[,]", "/a/",
              "new Date(0)")  # fmt: skip

ERRORS = {
    "syntax": ("function f(", "0", Status.SYNTAX_ERROR),
    "raised": ("const f = () => { throw new RangeError('no'); };", "0", Status.RUNTIME_ERROR),
    "raised_at_load": ("null.x; function f(x) { return 1; }", "0", Status.RUNTIME_ERROR),
    "unbound": ("const f = (x) => y;", "0", Status.RUNTIME_ERROR),
    "no_f": ("const g = 1;", "0", Status.RUNTIME_ERROR),
    "exit": ("const f = () => process.exit(3);", "0", Status.EXIT),
    "deep_recursion": ("const f = (x) => f(x) + 1;", "0", Status.RUNTIME_ERROR),
    "endless": ("const f = () => { for (;;); };", "0", Status.TIMEOUT),
    "asleep": ("const f = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60000);", "0",
               Status.TIMEOUT),
    "memory": ("const f = () => { const a = []; for (;;) a.push(new Array(1e6).fill(1.5)); };", "0", Status.MEMORY),
    "too_long": ("const f = () => 'a'.repeat(5000);", "0", Status.OUTPUT_LIMIT),
    "function": ("const f = () => f;", "0", Status.UNSERIALISABLE),
    "cycle": ("const f = () => { const a = []; a.push(a); return a; };", "0", Status.UNSERIALISABLE),
}  # fmt: skip

LIARS = (
    ("const f = () => ({valueOf: () => 42, toString: () => '42', toJSON: () => 42});", "0", "42"),
    ("const f = () => '42';", "0", "42"),
    ("const f = () => 42n;", "0", "42"),
    ("Object.prototype.toJSON = () => 42; JSON.stringify = () => '42'; String = () => '42'; const f = () => [7];", "0",
     "42"),
    ("Object.is = () => true; require('util').isDeepStrictEqual = () => true; const f = () => 7;", "0", "42"),
)  # fmt: skip
NONDETERMINISTIC = (
    ("const f = () => Math.random();", "0"),
    ("const f = () => Number(process.hrtime.bigint());", "0"),
    # The date, in UTC and here.
    ("function f() { return new Date().toISOString().slice(0, 10); }", "0"),
    ("function f() { return new Intl.DateTimeFormat('en', { timeZone: 'UTC' }).format(); }", "0"),
    ("function f() { return new Date().getUTCDay(); }", "0"),
)
DETERMINISTIC = (("const f = () => Object.keys({b: 1, 2: 1, a: 1, 1: 1});", "0"),)

_SOURCES = [
    "function f(x) { return g(x); } function g(x) { return x + 1; }", "const f = (x) => g(x); const g = (x) => [x];",
    "f = function (x) { return x * 2; };", "var f = 1; var f = (x) => x;",
    "function f() { return 1; } function f() { return 2; }", "let f = (x) => x; f = (x) => -x;",
    "{ function f() { return 'block'; } }", "if (true) { function f() { return 'if'; } }",
    "function f() { return this === globalThis; }", "'use strict'; function f() { return this === undefined; }",
    "// c\n'use strict'\nfunction f() { return typeof this; }", "function f() { return 1; } return;",
    "return; function f() { return 'hoisted'; }",
    "#!/usr/bin/env node\nfunction f() { return __filename.endsWith('.js'); }", "eval('var f = () => 9');",
    "\ufefffunction f() { return 'bom'; }",
    "function f() { return [typeof require, typeof module, typeof exports, module.exports === exports]; }",
    "function f() { return [require.main === module, process.argv.length, module.id, module.loaded]; }",
    "const a = [arguments.length, this === module.exports]; function f() { return [a, Object.keys(exports)]; }",
    "exports.a = 1; function f() { return Object.keys(module.exports); }",
    "function module() {} function f() { return typeof module; }",
    "function f(x) { return [010, arguments.length, f.length, f.name]; }",
    "const f = function (x) { return f.name; };", "var i = 0; for (var i = 0; i < 3; i++); function f() { return i; }",
    "x = 5; function f() { return globalThis.x; }", "--> an HTML comment\nfunction f() { return 1 <!-- another\n; }",
    "function f() { return new Error('e').stack.split('\\n')[1].match(/:(\\d+:\\d+)/)[1]; }",
    "function f() { return (function () { return typeof this; })(); }",
    "const { a, ...rest } = { a: 1, b: 2 }; function f() { return rest; }",
    "label: for (;;) { break label; } function f() { return 'label'; }",
    "class A { #p = 3; get p() { return this.#p; } } const f = () => new A().p;",
    "function* g() { yield* [1, 2]; } const f = () => [...g()];", "const f = (x, y = x + 1) => [x, y];",
    "var undefined = 1; const f = () => [undefined === void 0];", "const f = () => [1, 10, 2].sort();",
    "const f = () => Object.keys({ b: 1, 2: 1, a: 1, 1: 1 });", "const f = () => [typeof f, typeof g]; var g;",
    "let s = ''; try { h; } catch (e) { s = e.name; } let h; const f = () => s;",
    "const f = () => '\\u00e9'.normalize('NFD').length;", "const f = () => require('path').join('a', '..', 'b');",
    "const f = () => [..'a😀'].length;", "function f(x) { return x.toLocaleString('en-US'); }",
    "const f = () => new Date(0).toString();",
    "const f = () => [Object.keys(globalThis).length, Object.getOwnPropertyNames(globalThis).length];",
    "const f = 1 +* 2;", "const f = () => { throw new TypeError('bad'); };", "const f = () => missing + 1;",
    "let a; let a;", "const f = 1;", "f(); const f = () => 1;",
    "class E extends Error {} const f = () => { throw new E('e'); };",
    "const f = () => JSON.parse('{');", "const f = () => null.x;", "const f = () => { 'use strict'; undeclared = 1; };",
]  # fmt: skip
PROGRAMS = tuple((source, "7") for source in _SOURCES)

_DIRECTIVES = re.compile(r"^((?:\ufeff)?(?:#!.*\n)?(?:// c\n)?(?:'use strict';?)?)")


def as_file(source: str, text: str) -> str:
    """`source` with code that prints f's value: at the end, or at the exit of one that returns early."""
    shown = f"((v) => v === undefined ? 'undefined' : JSON.stringify(v))(f({text}))"
    if "return;" not in source:
        return f"{source}\n;process.stdout.write('value:' + {shown})"
    # Directives and #! stay first.
    return _DIRECTIVES.sub(rf"\1 process.on('exit', () => process.stdout.write('value:' + {shown}));", source, count=1)


def names(verdict, stderr: str) -> bool:
    """Whether the interpreter's standard error tells of the verdict's error."""
    return re.search(rf"\b{verdict.error_kind}\b", stderr) is not None and verdict.message.split("\n")[0] in stderr
