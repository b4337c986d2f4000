"""Lua: luaunit's assertEquals."""

from __future__ import annotations

import re

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Form, by_templates

# An f after the program, local, so that the program's own f is unchanged.
_COLLECT = """{{program}}
local azr_candidate = {{function}}
local function f(azr_call)
local candidate = azr_candidate
{{cases}}
end
"""
# The equality of luaunit 3.4's assertEquals: == for all but tables, and tables by their keys and values.
_COMPARE = """local expected, at = {
{{expected}}}, 0
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
LANGUAGE = BenchmarkLanguage(
    name="lua",
    form=Form(
        re.compile(
            r"\s*lu = require\('luaunit'\)\s+function test_humaneval\(\)\s*\n\s*local candidate = ([^\n]+)\n(.*)\n"
            r"end\s+os\.exit\(lu\.LuaUnit\.run\(\)\)\s*\Z",
            re.DOTALL,
        ),
        "lu.assertEquals(",
        re.compile(r",\s*"),
        re.compile(r"\)"),
        quotes="\"'",
    ),
    instrument=by_templates(
        collect=_COLLECT,
        case="if azr_call == {{number}} then return ({{call}}) end",
        compare=_COMPARE,
        expected="function() return {{expected}} end",
    ),
    faulty_stops=("\n\n",),
    wrong_body="    return nil\nend\n",
    print_mark='print("{{mark}}")',
    test_function=r"^(?:local )?function (\w+)\(\)",
)
