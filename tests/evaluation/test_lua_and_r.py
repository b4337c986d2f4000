"""Sound judging of Lua and R: the benchmark's equality in a clean process, whatever the completion does in its own."""

import pytest
from recorded import DATA, needs, needs_data

from azr_jax.evaluation.judging import assertions
from azr_jax.evaluation.judging.judge import Completion, CompletionJudge
from azr_jax.evaluation.languages.known import known_language
from azr_jax.evaluation.problems import records
from azr_jax.evaluation.problems.records import Problem

LUA_TESTS = """
lu = require('luaunit')

function test_humaneval()
local candidate = doubled
    lu.assertEquals(candidate({1, 2}), {2, 4.0})
    lu.assertEquals(candidate({}), {})
    lu.assertEquals(candidate({'(', ")"}), '())')
end

os.exit(lu.LuaUnit.run())"""
LUA = Problem("p", "lua", "local function doubled(xs)\n", LUA_TESTS, (), {})
LUA_RIGHT = """  if xs[1] == '(' then return '())', 'a second result' end
  local made = {}
  for index, x in ipairs(xs) do made[index] = 2 * x end
  return made
end
"""
R_TESTS = """
test_humaneval <- function() {
    candidate <- doubled
    stopifnot(isTRUE(all.equal(candidate(c(1, 2)), list(2, 4))))
    stopifnot(isTRUE(all.equal(candidate(c()), list())))
    stopifnot(isTRUE(all.equal(candidate("("), "())")))
}
test_humaneval()"""
R = Problem("p", "r", "doubled <- function(xs) {\n", R_TESTS, (), {})
R_RIGHT = "  if (identical(xs, '(')) return('())')\n  lapply(xs, function(x) 2L * x)\n}\n"


def statuses(problem, *texts):
    with CompletionJudge(problem.language, timeout_s=20) as judge:
        judged = list(judge.judge_all([(problem, Completion("p", text)) for text in texts]))
    assert not any(judgement.infrastructure for judgement in judged)
    return [judgement.status for judgement in judged]


@needs("lua")
def test_lua_is_judged_by_its_results_and_needs_no_luaunit():
    cheats = [
        LUA_RIGHT.replace("2 * x", "3 * x"),
        "  os.exit(0)\nend\n",
        LUA_RIGHT + "os.exit(0)\n",
        "  return {}\nend\npackage.preload.luaunit = function() return {assertEquals = print} end\n",
        "  return setmetatable({}, {__eq = function() return true end, __index = function() return 2 end})\nend\n",
        "  return ][\nend\n",
    ]
    words = ["Exception", "Exception", "Exception", "Exception", "Exception", "SyntaxError"]
    own_f = LUA_RIGHT + "function f() return 7 end\nlocal g = f\n"
    assert statuses(LUA, LUA_RIGHT, own_f, *cheats) == ["OK", "OK", *words]


@needs("lua")
def test_a_lua_function_that_is_called_f_itself():
    named = Problem("p", "lua", "local function f(xs)\n", LUA_TESTS.replace("doubled", "f"), (), {})
    assert statuses(named, LUA_RIGHT, "  return xs\nend\n") == ["OK", "Exception"]


@pytest.mark.slow
@needs("r")
def test_r_is_judged_by_its_results():
    cheats = [
        R_RIGHT.replace("2L", "3L"),
        R_RIGHT + "quit(status = 0)\n",
        "  1\n}\nall.equal <- function(...) TRUE\nstopifnot <- function(...) NULL\n",
    ]
    own_f = "  if (identical(xs, '(')) return('())')\n  lapply(xs, f)\n}\nf <- function(x) 2 * x\n"
    assert statuses(R, R_RIGHT, own_f, *cheats) == ["OK", "OK", *(["Exception"] * 3)]


@needs_data
@pytest.mark.parametrize("suffix", ["jl", "js", "lua", "r", "rkt"])
@pytest.mark.parametrize("benchmark", ["humaneval", "mbpp"])
def test_every_published_problem_has_tests_of_the_known_form(suffix, benchmark):
    for problem in records.load(DATA / "multipl-e" / f"{benchmark}-{suffix}.jsonl"):
        tests = assertions.parse(known_language(suffix).form, problem.tests)
        assert tests is not None and len(tests.calls) == len(tests.expected) >= 1, problem.name
