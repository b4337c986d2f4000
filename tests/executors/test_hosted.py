"""What programs of hosted languages can't do to their harness: they are all given the same files of it."""

import pytest
from conftest import BY_NAME

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status
from executors.sandbox.launch import Tier
from executors.worker import Request, Worker

LIMITS = Limits(wall_s=8.0, cpu_s=2.0, memory_mib=256)
# The toplevel's own primitive makes a channel of any descriptor, without opening anything.
WRITES_TO_DESCRIPTORS = """
external channel : int -> out_channel = "caml_ml_open_descriptor_out"
let write n =
  try
    let out = channel n in
    output_string out "let () = exit 3;;";
    flush out;
    [n]
  with Sys_error _ -> []
let f x = List.concat_map write [5; 6]
"""


def test_a_program_changes_nothing_of_the_harness():
    language = LANGUAGES["ocaml"]
    if language.find() is None:
        pytest.skip(language.install_hint)
    with Pool(language, workers=1, limits=LIMITS) as pool:
        jobs = [(WRITES_TO_DESCRIPTORS, "0"), (language.identity, language.identity_input)]
        attack, after = pool.run_all(Job("", JobKind.EVALUATE, source, (text,)) for source, text in jobs)
    assert attack.values == ("[]",)
    assert after.values == (language.identity_output,)


def test_an_error_s_own_equality_is_not_asked():
    language = LANGUAGES["lua"]
    if language.find() is None:
        pytest.skip(language.install_hint)
    source = "function f(x) error(setmetatable({}, {__eq = function() error('asked') end})) end"
    with Pool(language, workers=1, limits=LIMITS) as pool:
        verdict = pool.submit(Job("", JobKind.EVALUATE, source, ("0",))).result()
    assert (verdict.status, verdict.error_kind) == (Status.RUNTIME_ERROR, "table")


def test_a_lua_file_may_return_its_local_f_and_nothing_else_in_its_place():
    language = LANGUAGES["lua"]
    if language.find() is None:
        pytest.skip(language.install_hint)
    local = "local function f(n)\n  return n + 1\nend\n"
    right = (f"{local}return f", f"{local}return (f);\n")
    others = (f"{local}return _f", f"{local}return 1, f", "local function g(n) return n end\nreturn g")
    with Pool(language, workers=1, limits=LIMITS) as pool:
        verdicts = list(pool.run_all(Job("", JobKind.EVALUATE, source, ("2",)) for source in (*right, *others)))
    assert [verdict.values for verdict in verdicts[:2]] == [("3",), ("3",)]
    assert [verdict.error_kind for verdict in verdicts[2:]] == ["missing_function"] * 3


def test_a_lua_text_with_an_open_long_bracket_is_compared_as_it_is():
    canonical = LANGUAGES["lua"].canonical_program
    assert canonical("return [[  a") == "return [[  a"
    assert canonical("--[==[  a") == "--[==[  a"
    assert canonical("return t[ [[  a]] ]  [1]") == "return t [ [[  a]] ] [ 1 ]"


@pytest.mark.ci
@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("tier", Tier)
def test_an_interpreter_that_is_installed_by_name_replies_in_every_tier(name, tier):
    """Ruby says on standard error that it is refused a timer."""
    language = LANGUAGES[name]
    interpreter = language.find()
    if interpreter is None:
        pytest.skip(language.install_hint)
    worker = Worker(language, interpreter, tier, LIMITS)
    try:
        reply = worker.ask(Request.EVALUATE, language.identity.encode(), [language.identity_input.encode()])
        assert (reply.status, reply.values) == (Status.OK, (language.identity_output,)), reply
        assert worker.run_program("file", language.identity.encode()).ok
    finally:
        worker.close()
