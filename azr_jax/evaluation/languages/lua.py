"""Lua: luaunit's assertEquals."""

from __future__ import annotations

import re

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Form, by_templates, replay_by_template

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
_REPLAY = """{{program}}
local azr_count, azr_calls, azr_made, azr_at = {{count}}, {}, 0, 0
local function azr_copy(value)
  if type(value) ~= "table" then return value end
  local copy = {}
  for key, inner in next, value do copy[key] = azr_copy(inner) end
  return copy
end
local function azr_keep(value)
  azr_made = azr_made + 1
  azr_calls[azr_made] = value
end
local azr_real = {{name}}
local function azr_stand_in(...)
  if azr_count > 0 then
    azr_at = azr_at + 1
    return azr_calls[azr_at]
  end
  azr_keep(azr_copy({...}))
  return azr_real(...)
end
local function azr_tests({{name}})
{{tests}}
end
if azr_count == 0 then azr_tests(azr_stand_in) end
local function f(value)
  if azr_count == 0 then return value < 0 and azr_made or azr_calls[value + 1] end
  azr_keep(value)
  if azr_made < azr_count then return true end
  azr_tests(azr_stand_in)
  return azr_at == azr_count
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
    replay=replay_by_template(_REPLAY, "candidate((table.unpack or unpack)({{arguments}}))"),
    faulty_stops=("\n\n",),
    wrong_body="    return nil\nend\n",
    print_mark='print("{{mark}}")',
    test_function=r"^(?:local )?function (\w+)\(\)",
)
