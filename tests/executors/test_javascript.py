"""JavaScript: values both ways, hostile programs, limits, speed; conformance/javascript.py has the file semantics."""

import dataclasses
import json
import os
import re
import resource
import struct
import subprocess
from pathlib import Path

import pytest

from executors import Job, JobKind, Limits, Pool, Status
from executors.languages.javascript import LANGUAGE, canonical_program, harness_argv
from executors.sandbox.launch import Tier
from executors.worker import Request, Worker

INTERPRETER = LANGUAGE.find()
if INTERPRETER is None:
    pytest.skip(f"node is not installed: {LANGUAGE.install_hint}", allow_module_level=True)
NEEDS_ADDON = pytest.mark.skipif(not LANGUAGE.serves, reason="the addon is not built: make setup")
CORPUS = Path(__file__).parents[2].parent / "shared" / "attacks" / "js"
LIMITS = Limits(wall_s=3.0, cpu_s=3.0, memory_mib=256, value_chars=4096)


@pytest.fixture(scope="module")
def pool():
    with Pool(LANGUAGE, workers=1, limits=LIMITS) as opened:
        yield opened


def run(pool, source, *inputs, **fields):
    return pool.submit(Job("job", JobKind.EVALUATE, source, inputs or ("0",), **fields)).result()


def read(pool, text):
    return pool.submit(Job("job", JobKind.VALUE, inputs=(text,))).result()


CANONICAL = [
    ("1", "1"), ("-0", "-0"), ("0", "0"), ("+3", "3"), ("- 7", "-7"), ("1.50", "1.5"), (".5", "0.5"), ("5.", "5"),
    ("1e22", "1e+22"), ("1E400", "Infinity"), ("-Infinity", "-Infinity"), ("NaN", "NaN"), ("0x1F", "31"),
    ("0b101", "5"), ("0o17", "15"), ("1_000", "1000"), ("10n", "10n"), ("-0n", "0n"), ("0xffn", "255n"),
    ("123456789012345678901234567890n", "123456789012345678901234567890n"), ("9007199254740993", "9007199254740992"),
    ("5e-324", "5e-324"), ("0.1", "0.1"), ("true", "true"), (" null ", "null"), ("undefined", "undefined"),
    ("'a\"b'", '"a\\"b"'), ('"\\u{1F600}é"', '"😀é"'), ("`a\nb`", '"a\\nb"'), ("'\\x41\\0'", '"A\\u0000"'),
    ('"\\ud800"', '"\\ud800"'), ("'a\\\nb'", '"ab"'), ("[1, [2,], ]", "[1,[2]]"), ("[]", "[]"),
    ("({a: 1})", '{"a":1}'), ("{b: 1, a: undefined, 3: 4, 'c d': 5}", '{"3":4,"a":undefined,"b":1,"c d":5}'),
    ("{a: 1, a: 2}", '{"a":2}'), ('{["__proto__"]: 1}', '{["__proto__"]:1}'),
    ("{__proto__: null, a: 1}", '{__proto__:null,"a":1}'), ("new Map()", "new Map([])"),
    ("new Map([[2, 'b'], [1, {a: 2}]])", 'new Map([[1,{"a":2}],[2,"b"]])'),
    ("new Set([3, 1, 1n, '1', 1])", 'new Set(["1",1,1n,3])'), ("new Set([[2], [1]])", "new Set([[1],[2]])"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "canonical"), CANONICAL)
def test_values_are_read_and_written(pool, text, canonical):
    # In a list with an object, so that no text is taken as canonical unread.
    assert read(pool, f"[{{}}, {text}]").values == (f"[{{}},{canonical}]",)
    assert read(pool, f"[{{}}, {canonical}]").values == (f"[{{}},{canonical}]",)


@pytest.mark.parametrize(
    "text",
    [
        "", "1) or True #", "1;", "1 2", "f(1)", "x", "[,]", "[1,,2]", "017", "08", "1__0", "1_", "3in",
        "10.5n", "+1n", "new Date(0)", "Map([])", "new Map([1])", "new Set(1)", "`${1}`", '"a\nb"', "'\\8'", "{a(){}}",
        "{get a(){}}", "{a}", "{...[]}", "{__proto__: []}", "/a/", "() => 1", "function(){}", "// 1", "1 // x",
        '"unfinished', "[" * 300 + "]" * 300, "Symbol()", "globalThis", "async", "new  Set([1]) .x", "this", "-'1'",
        "--1", "1\u200b",
    ],
)  # fmt: skip
def test_everything_else_is_forbidden(pool, text):
    assert read(pool, text).status is Status.FORBIDDEN


def test_expressions_are_for_inputs_only(pool):
    inputs = {"0.1+0.2": "0.30000000000000004", "[1 + 2 * 3 - -4 / (1 + 1)]": "[9]", "7 % 4": "3", "-1 - 1": "-2"}
    assert run(pool, "const f = (x) => x;", *inputs).values == tuple(inputs.values())
    for text in inputs:
        assert read(pool, text).status is Status.FORBIDDEN
    for text in ("1 + x", "1 +", "1)+(2", "1];[2", "1,,2", ""):
        assert run(pool, "const f = (x) => x;", text).status is Status.FORBIDDEN


def test_plain_values_are_canonical(pool):
    plain = re.compile(LANGUAGE.plain_value)
    texts = [text for _, text in CANONICAL if plain.fullmatch(text)]
    texts += [
        "999999999999999",
        "-1",
        "0.000001",
        "1234567.123456",
        "-0.5",
        '[1,"a b",null]',
        "[]",
        '""',
        "-12n",
        "[-0,0n]",
    ]
    assert len(texts) > 25
    for text in texts:
        assert plain.fullmatch(text), text
        assert read(pool, f"{{a: [{text}]}}").values == (f'{{"a":[{text}]}}',)
    for text in ("-0n", "01", "1.50", "0.0000001", '"\\a"', "[1, 2]", "1e5", "12345678901234567"):
        assert not plain.fullmatch(text), text


RETURNED = [
    ("[1, 1n, true, '1']", '[1,1n,true,"1"]'),
    ("[0.1 + 0.2, -0, 0, 2 ** 53, 1e21]", "[0.30000000000000004,-0,0,9007199254740992,1e+21]"),
    ("'\\u0000\\ud83d'", '"\\u0000\\ud83d"'),
    ("JSON.parse('{\"__proto__\": 1, \"b\": 2, \"a\": 3}')", '{["__proto__"]:1,"a":3,"b":2}'),
    ("Object.freeze([1])", "[1]"), ("'a-b'.match(/(?<left>a)/).groups", '{__proto__:null,"left":"a"}'),
    ("new Map([[NaN, 1], [-0, 2], [{a: 1}, [3]]])", 'new Map([[0,2],[NaN,1],[{"a":1},[3]]])'), ("void 0", "undefined"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "canonical"), RETURNED)
def test_returned_values(pool, expression, canonical):
    assert run(pool, f"function f() {{ return {expression}; }}").values == (canonical,)


@pytest.mark.parametrize(
    "expression",
    [
        "() => 1", "Symbol()", "new Date(0)", "/a/", "new (class A {})()", "Promise.resolve(1)", "new Uint8Array(2)",
        "new Number(1)", "Object.setPrototypeOf(new Number(1), Object.prototype)", "[1, , 2]",
        "Object.assign([1], {a: 2})", "Object.assign(new Map(), {a: 1})", "new (class extends Map {})()",
        "new Proxy({}, {})", "{get a() { return 1; }}", "{[Symbol.iterator]: 1}",
        "Object.defineProperty({}, 'a', {value: 1})", "(() => { const a = []; a.push(a); return a; })()", "arguments",
        "new Error('x')", "globalThis", "new WeakMap()", "(function* () {})()", "[function () {}]",
        "{a: {b: Symbol.iterator}}", "Object.create({a: 1})", "Object.create(new Proxy({}, {}))",
        "new Map().entries()", "new String('a')", "require('vm').runInNewContext('({})')",
        "[...Array(300)].reduce((a) => [a], 1)",
    ],
)  # fmt: skip
def test_values_without_a_literal(pool, expression):
    verdict = run(pool, f"function f() {{ return ({expression}); }}")
    assert (verdict.status, verdict.values) == (Status.UNSERIALISABLE, ())


@pytest.mark.parametrize(
    "expression",
    ["'a'.repeat(5000)", "10n ** 5000n", "Array(3000).fill(1)", "'\\0'.repeat(1000)", "new Set(Array(2000).keys())"],
)
def test_too_long_is_never_cut(pool, expression):
    verdict = run(pool, f"const f = () => {expression};")
    assert (verdict.status, verdict.values) == (Status.OUTPUT_LIMIT, ())


SYNTAX, RUNTIME = Status.SYNTAX_ERROR, Status.RUNTIME_ERROR
ERRORS = [
    ("function f(", SYNTAX, "SyntaxError", ""),
    ("let a; let a;", SYNTAX, "SyntaxError", "already been declared"),
    ("} function f() {} {", SYNTAX, "SyntaxError", ""),
    ("let exports = 1;", SYNTAX, "SyntaxError", ""), ("/*", SYNTAX, "SyntaxError", ""),
    ("if (true)", SYNTAX, "SyntaxError", ""), ("`", SYNTAX, "SyntaxError", ""),
    ("import fs from 'fs';", SYNTAX, "SyntaxError", ""),
    ("'use strict'; with ({}) {}", SYNTAX, "SyntaxError", ""),
    ("/* c */ 'use strict'; 010", SYNTAX, "SyntaxError", ""),
    ("await 1;", SYNTAX, "SyntaxError", ""),
    ("const g = 1;", RUNTIME, "ReferenceError", "f is not defined"),
    ("const f = 1;", RUNTIME, "TypeError", "f is not a function"),
    ("f(); const f = 1;", RUNTIME, "ReferenceError", "before initialization"),
    ("class f {}", RUNTIME, "TypeError", ""),
    ("const f = () => null.x;", RUNTIME, "TypeError", ""),
    ("const f = () => JSON.parse('{');", RUNTIME, "SyntaxError", ""),
    ("const f = () => eval('(');", RUNTIME, "SyntaxError", ""),
    ("class MyError extends Error {} const f = () => { throw new MyError('hi'); };", RUNTIME, "MyError", "hi"),
    ("const f = () => { throw 'text'; };", RUNTIME, "string", "text"),
    ("const f = () => { throw null; };", RUNTIME, "null", ""),
    ("const f = () => { throw Symbol('s'); };", RUNTIME, "symbol", "Symbol(s)"),
    ("const f = (x) => f(x) + 1;", RUNTIME, "RangeError", "call stack"),
    ("const f = () => { throw new Proxy(new Error('p'), {get() { throw 1; }}); };", RUNTIME, "Error", ""),
    ("const f = () => { throw {get constructor() { f(); }, get message() { f(); }}; };", RUNTIME, "Error", ""),
    ("const f = () => { throw Object.assign(Object.create(null), {azr: true, status: 'ok'}); };", RUNTIME, "Error", ""),
    ("const f = () => require('no-such');", RUNTIME, "Error", "no-such"),
    ("process.exit(3);", Status.EXIT, "", "3"), ("const f = () => process.exit();", Status.EXIT, "", "0"),
    ("const f = () => process.abort();", Status.CRASH, "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("source", "status", "kind", "message"), ERRORS)
def test_errors_by_kind(pool, source, status, kind, message):
    verdict = run(pool, source)
    assert verdict.status is status
    assert status is Status.CRASH or verdict.error_kind == kind
    assert message in verdict.message and len(verdict.message) <= LIMITS.message_chars


PATCHES = [
    "Object.prototype.a = 42; Array.prototype[3] = 42;",
    "Object.defineProperty(Array.prototype, 0, {set() { throw 1; }});",
    "for (const k of Reflect.ownKeys(Array.prototype)) try { Array.prototype[k] = () => 'x'; } catch {}",
    "JSON.stringify = String.prototype.slice = () => '666'; String = Number = BigInt = () => '666';",
    "Map.prototype.forEach = Set.prototype.forEach = () => {}; Map.prototype[Symbol.iterator] = Map = null;",
    "Reflect.ownKeys = () => []; Reflect.apply = Function.prototype.call = Function.prototype.apply = () => 6;",
    "require('util').types.isProxy = () => false; Array.isArray = () => false; Object.is = () => true;",
    "Object.prototype.value = 6; Object.prototype.get = Object.prototype.toJSON = String.prototype.toJSON = () => 6;",
    "Error.prepareStackTrace = () => { throw 1; }; Error.stackTraceLimit = Infinity;",
    "require('fs').writeSync = () => 0; process.stdout.write = () => {}; Buffer.from = () => 666;",
    "const g = () => { for (;;); }; process.on('exit', g); setTimeout(g); Promise.resolve().then(g);",
]  # fmt: skip


@pytest.mark.parametrize("patch", PATCHES)
def test_patched_primitives_change_nothing(pool, patch):
    value = "[-0, '1', 1n, {b: [true], a: null}, new Map([[2, 1], [1, 5]])]"
    source = f"const value = {value}; {patch} function f() {{ return value; }}"
    assert run(pool, source).values == ('[-0,"1",1n,{"a":null,"b":[true]},new Map([[1,5],[2,1]])]',)


@NEEDS_ADDON
def test_forged_replies_are_useless(pool):
    fields = [b"ok", b"", b"", b"0", b"0", b"666"]
    reply = struct.pack(">I", 6) + b"".join(struct.pack(">I", len(field)) + field for field in fields)
    claim = struct.pack(">I", 4) + b"".join(
        struct.pack(">I", len(field)) + field for field in (b"ok", b"", b"", b"666")
    )
    for forged in (
        reply,
        claim,
        struct.pack(">I", len(claim)) + claim,
        bytes(16) + struct.pack(">I", len(claim)) + claim,
        b"\xff" * 99,
    ):
        source = (
            f"const fs = require('fs'), b = Buffer.from({forged.hex()!r}, 'hex');"
            "for (let d = 0; d < 256; d++) try { fs.writeSync(d, b); } catch {} function f() { return 7; }"
        )
        verdict = run(pool, source)
        assert verdict.status is Status.CRASH or verdict.values == ("7",)
        closing = (
            "for (let d = 0; d < 256; d++) try { require('fs').closeSync(d); } catch {} function f() { return 7; }"
        )
        assert run(pool, closing).status is Status.CRASH
        assert run(pool, LANGUAGE.identity, "8").values == ("8",)


@NEEDS_ADDON
def test_nothing_of_one_program_reaches_another(pool):
    secret = "s3cr" + "et" * 50
    run(pool, f"globalThis.kept = '{secret}'; const f = (x) => x;", f"['{secret}']", expect=(f"['{secret}', 1]",))
    verdict = run(
        pool,
        """function f() {
          const needle = Buffer.from(['s3c', 'ret', 'etet'].join(''));
          for (let i = 0; i < 100; i++) if (Buffer.allocUnsafeSlow(1 << 16).includes(needle)) return 'memory';
          for (const key of Object.getOwnPropertyNames(globalThis)) if (key === 'kept') return 'global';
          return 'nothing';
        }""",
    )
    assert verdict.values == ('"nothing"',)


@NEEDS_ADDON
def test_a_child_is_on_its_own(pool):
    refused = """function f() {
      const out = [];
      const attempt = (g) => { try { g(); out.push('done'); } catch (e) { out.push(e.code); } };
      attempt(() => require('child_process').execFileSync('/bin/true'));
      attempt(() => new (require('worker_threads').Worker)('1', { eval: true }));
      attempt(() => require('fs').writeFileSync('/tmp/x', 'x'));
      attempt(() => require('fs').readFileSync('/proc/' + process.ppid + '/environ'));
      const leaked = Object.keys(process.env).some((k) => k.startsWith('AZR'));
      return [out.includes('done'), leaked, Object.keys(require.cache).length];
    }"""
    assert run(pool, refused).values == ("[false,false,1]",)


def test_random_numbers_are_found(pool):
    for expression in ("Math.random()", "require('crypto').randomBytes(8).toString('hex')", "process.hrtime.bigint()"):
        verdict = run(pool, f"const f = () => {expression};", determinism=True)
        assert verdict.status is Status.NONDETERMINISTIC
    assert run(pool, "const f = () => [...new Set('hello')].join('');", determinism=True).values == ('"helo"',)


def test_several_inputs(pool):
    assert run(pool, "let n = 0; const f = (x) => x + n++;", "1", "1", "'a'").values == ("1", "1", '"a0"')
    assert run(pool, "const f = (x) => x.y.z;", "{y: {z: 1}}", "1").status is Status.RUNTIME_ERROR


@pytest.mark.ci
@NEEDS_ADDON
def test_limits(pool):
    for loop in (
        "for (;;);",
        "/^(a+)+$/.test('a'.repeat(64) + 'b');",
        "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);",
    ):
        verdict = run(pool, f"const f = () => {{ {loop} }};")
        assert verdict.status is Status.TIMEOUT
        assert verdict.seconds < LIMITS.wall_s + 0.05


@NEEDS_ADDON
def test_memory_limit():
    # Within a higher time limit: filling memory is slow on a busy machine.
    with Pool(LANGUAGE, workers=1, limits=Limits(wall_s=20.0, cpu_s=20.0, memory_mib=192)) as slow:
        for item in (
            "Array(1e5).fill(1.5)",
            "new Uint8Array(1e7).fill(1)",
            "Buffer.alloc(1e7, 1)",
        ):
            verdict = run(slow, f"const f = () => {{ for (const a = [];;) a.push({item}); }};")
            assert verdict.status is Status.MEMORY, (item, verdict)
        # Garbage is not memory: 1.6 GB go through a limit of 192 MiB.
        verdict = run(
            slow,
            "const f = () => { let n = 0; for (let i = 0; i < 2000; i++) n += new Array(1e5).fill(i)[7]; return n; };",
        )
        assert verdict.values == ("1999000",)


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("function f(x){return x+1}", "function f ( x ) {\n  // add\n  return x + 1 /* one */\n}", True),
        ("const f = x => x;\nf(1)", "#!/usr/bin/node\nconst f=x=>x;   f(1)", True), ("f = 'a  b'", "f = 'a b'", False),
        ("f = `a  ${ 1 }`", "f = `a ${ 1 }`", False), ("f = /a  b/", "f = /a b/", False),
        ("f = `${`}`}` // c", "f   = `${`}`}`", True), ("f = '// no comment'", "f = '", False),
        ("f = a / b / c", "f=a/b/c", True), ("if (x) /a  'b/.test(y)", "if (x) /a 'b/.test(y)", False),
        ("return\nx", "return x", False), ("a\n++b", "a ++\nb", False), ("f = /[/'\"]/; 'x'", "f=/[/'\"]/;'x'", True),
        ("f = { a: 1,\n b: 2\n}", "f = {a:1, b:2}", True), ("x = a?.b", "x=a ?. b", True),
        ("'unfinished", "  'unfinished  ", True), ("f = 1 /* c\n */ g = 2", "f = 1\ng = 2", True),
        ("class A { #x = 1 }", "class A {#x=1}", True),
    ],
)  # fmt: skip
def test_canonical_program(left, right, same):
    assert (canonical_program(left) == canonical_program(right)) is same


def test_works_without_the_addon():
    bare = dataclasses.replace(INTERPRETER, environment=(), read_only=())
    language = dataclasses.replace(LANGUAGE, find=lambda: bare, serves=False)
    with Pool(language, workers=1, limits=Limits(wall_s=20.0, cpu_s=20.0)) as pool:
        assert run(pool, "const f = (x) => [x, -0, 'é😀'];", "new Set([2, 1])").values == ('[new Set([1,2]),-0,"é😀"]',)
        assert run(pool, "const f = () => null.x;").error_kind == "TypeError"
        assert run(pool, "const f = () => process.exit(1);").status is Status.EXIT
        assert run(pool, "const f = () => require('fs').writeFileSync('/x', '');").status is Status.RUNTIME_ERROR
        assert (
            run(pool, "const f = () => { for (const a = [];;) a.push(new Uint8Array(1e7).fill(1)); };").status
            is Status.MEMORY
        )


def test_without_the_addon_nothing_is_written_in_the_least_tier(tmp_path):
    bare = dataclasses.replace(INTERPRETER, environment=())
    language = dataclasses.replace(LANGUAGE, serves=False, hardens=False)
    open_folder = tmp_path / "open"
    open_folder.mkdir(0o777)
    worker = Worker(language, bare, Tier.LIMITS, Limits(wall_s=20.0, cpu_s=20.0))
    writes = f"const f = (x) => require('fs').writeFileSync({str(open_folder / 'x')!r}, x);"
    try:
        verdict = worker.ask(Request.EVALUATE, LANGUAGE.identity.encode(), [b"1"])
        assert verdict.values == ("1",), verdict
        written = worker.ask(Request.EVALUATE, writes.encode(), [b"'x'"])
    finally:
        worker.close()
    assert written.status is Status.RUNTIME_ERROR and "EROFS" in written.message


def test_without_the_addon_a_large_trainer_takes_no_memory_from_its_programs():
    # At exec the kernel adds to the peak of a process what it held before, which in the least tier is the trainer's.
    bare = dataclasses.replace(INTERPRETER, environment=())
    language = dataclasses.replace(LANGUAGE, serves=False, hardens=False)
    held = b"x" * (400 << 20)
    worker = Worker(language, bare, Tier.LIMITS, Limits(wall_s=20.0, cpu_s=20.0, memory_mib=256))
    try:
        small, large = (
            worker.ask(Request.EVALUATE, source, [b"1"])
            for source in (LANGUAGE.identity.encode(), b"const f = (x) => new Uint8Array(4e8).fill(x)[0];")
        )
    finally:
        worker.close()
    del held
    assert small.values == ("1",), small
    assert large.status is Status.MEMORY, large


@NEEDS_ADDON
@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.exists(), reason="no attack corpus beside the repository")
def test_warm_and_cold_agree_on_attacks():
    limits = Limits(wall_s=8.0, cpu_s=8.0, memory_mib=256, value_chars=8192)
    cases = json.loads((CORPUS / "manifest.json").read_text())
    statuses = []
    for cold in (False, True):
        with Pool(LANGUAGE, workers=1, limits=limits, cold=cold) as pool:
            statuses.append({})
            for case in cases:
                verdict = run(pool, (CORPUS / case["file"]).read_text(), case["input"])
                statuses[-1][case["name"]] = (verdict.status, verdict.error_kind)
    assert statuses[0] == statuses[1]


def start_harness(mode):
    """The harness without a sandbox; its standard output is its descriptor 3."""
    argv = harness_argv(INTERPRETER, str(LANGUAGE.harness), mode)
    return subprocess.Popen(
        ["/bin/sh", "-c", 'exec "$@" 3>&1 1>/dev/null', "sh", *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={"PATH": os.environ["PATH"], **dict(INTERPRETER.environment), "AZR_HASH_SEED": "1"},
    )


def receive(stream):
    (count,) = struct.unpack(">I", stream.read(4))
    return [stream.read(struct.unpack(">I", stream.read(4))[0]) for _ in range(count)]


def cpu_of_requests(mode, requests):
    """CPU seconds of a harness process and its children, answering `requests`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with start_harness(mode) as process:
        stream = process.stdout
        assert receive(stream) == [b"ready"]
        for number in range(requests):
            source = f"function f(x) {{ return x.reduce((a, b) => a + b, {number}); }}"
            fields = [b"evaluate", b"5 5 512 4096 500", b"1", source.encode(), b"[1, 2, 3]"]
            process.stdin.write(
                struct.pack(">I", 5) + b"".join(struct.pack(">I", len(field)) + field for field in fields)
            )
            assert receive(stream)[5:] == [str(6 + number).encode()]
        process.stdin.close()
        assert process.wait(10) == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@NEEDS_ADDON
@pytest.mark.slow
def test_warm_programs_are_cheap():
    """CPU time, which a busy machine changes less than wall time: a program served against one started cold."""
    cold_s = min(cpu_of_requests("--once", 1) for _ in range(10))
    warm_s = (cpu_of_requests("--serve", 301) - cpu_of_requests("--serve", 1)) / 300
    assert cold_s / warm_s > 8
