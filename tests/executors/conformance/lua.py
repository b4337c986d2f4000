"""Lua's part of test_conformance.py."""

from executors import Status

VALUES = """
local made = {
  arithmetic = {7 // 2, -7 // 2, -7 % 3, 2^10, 1 / 4, 0.1 + 0.2, 5e-324, 7 | 8, 10 // 0.3},
  boolean = {true, false, 1 < 2},
  empty = {"", {}},
  unicode = "é😀\\u{202e}\\t\\n\\"'",
  nul = "a\\0b",
  invalid_utf8 = "a\\xff",
  nan = 0 / 0,
  negative_zero = -0.0,
  infinity = {1 / 0, -1 / 0},
  ["1e22"] = 1e22,
  nested = {{1, {2.5, {a = {3}}}}, {b = {c = {{}}}}},
  set = {[3] = true, [1] = true, [2.5] = true, b = true, a = true},
  hash = {z = 1, a = 2, [-3] = 4, ["a b"] = 5, ["end"] = 6, [true] = 7, 8},
}
function f(name)
  return made[name]
end
"""
CASES = {
    "arithmetic": "{3, -4, 2, 1024.0, 0.25, 0.30000000000000004, 4.94065645841247e-324, 15, 33.0}",
    "boolean": "{true, false, true}",
    "nothing": "nil",
    "empty": '{"", {}}',
    "unicode": '"é😀\\u{202e}\\t\\n\\"\'"',
    "nul": '"a\\x00b"',
    "invalid_utf8": '"a\\xff"',
    "nan": "0/0",
    "negative_zero": "-0.0",
    "infinity": "{math.huge, -math.huge}",
    "1e22": "1e+22",
    "nested": "{{1, {2.5, {a = {3}}}}, {b = {c = {{}}}}}",
    "set": "{true, [2.5] = true, [3] = true, a = true, b = true}",
    "hash": '{8, [-3] = 4, a = 2, ["a b"] = 5, ["end"] = 6, z = 1, [true] = 7}',
}
CASES = {name: (VALUES, f'"{name}"', value) for name, value in CASES.items()}
ABSENT = {"big_integer": "integers are of 64 bits", "asleep": "nothing in the standard library sleeps"}

DISTINCT = ("1", "1.0", "true", '"1"', "{1}", "{[2] = 1}", "0", "0.0", "-0.0", "false", "nil", '"nil"', '""', "{}",
            "0/0", "math.huge", "math.mininteger", "9223372036854775808")  # fmt: skip
SAME = (
    ("{1,2}", "{ 1; 2, }"),
    ('{b = 1, ["a"] = 2}', "{a = 2, b = 1}"),
    ("{1, 2}", "{[2] = 2, [1] = 1}"),
    ("0x10", "16"),
    ("[[a]]", '"\\97"'),
    ("-(0/0)", "0/0"),
    ("{1, nil}", "{1}"),
    ("1e308/0", "math.huge"),
)
NOT_VALUES = ("1) or true --", "1 or 2", "x", "print(1)", "function() end", "os.exit()", "1; 2", "", "1 + 1", "{f()}",
              "{nil = 1}", "--1", "1 --", "{[nil] = 1}", "1/2", "'a'..'b'", "{" * 300)  # fmt: skip

ERRORS = {
    "syntax": ("function f(x", "0", Status.SYNTAX_ERROR),
    "raised": ("function f(x) error('no') end", "0", Status.RUNTIME_ERROR),
    "raised_at_load": ("error('no')\nfunction f(x) return 1 end", "0", Status.RUNTIME_ERROR),
    "unbound": ("function f(x) return y() end", "0", Status.RUNTIME_ERROR),
    "no_f": ("g = 1", "0", Status.RUNTIME_ERROR),
    "exit": ("function f(x) os.exit(3) end", "0", Status.EXIT),
    "deep_recursion": ("function f(x) return f(x) + 1 end", "0", Status.RUNTIME_ERROR),
    "endless": ("function f(x) while true do end end", "0", Status.TIMEOUT),
    "memory": ("function f(x) local t = {} while true do t[#t + 1] = {} end end", "0", Status.MEMORY),
    "too_long": ("function f(x) return ('x'):rep(5000) end", "0", Status.OUTPUT_LIMIT),
    "function": ("function f(x) return f end", "0", Status.UNSERIALISABLE),
    "cycle": ("function f(x) local t = {} t[1] = t return t end", "0", Status.UNSERIALISABLE),
}

_LIE = "setmetatable({}, {__eq = function() return true end, __tostring = function() return '42' end})"
LIARS = (
    (f"function f(x) return {_LIE} end", "0", "42"),
    ("function f(x) return {42} end", "0", "42"),
    ("function f(x) return '42' end", "0", "42"),
    ("function f(x) return 42.0 end", "0", "42"),
    ("function tostring() return '42' end string.format = tostring table.concat = tostring function f(x) return 7 end",
     "0", "42"),
    ("getmetatable('').__concat = function() return '42' end function f(x) return 'a' end", "0", "42"),
)  # fmt: skip
_KEYS = "{a = 1, b = 2}"
NONDETERMINISTIC = (
    ("function f(x) return math.random(1 << 40) end", "0"),
    ("function f(x) return tostring({}) end", "0"),
    ("function f(x) return os.time() end", "0"),
    ("function f(x) return os.date() end", "0"),
    ("function f(x) local s = '' for k in pairs(x) do s = s .. k end return s end", _KEYS),
    ("function f(x) local s = '' for k in next, x do s = s .. k end return s end", _KEYS),
    ("function f(x) return (next(x)) end", _KEYS),
    # The date, in UTC and here.
    ("function f(x) return os.date('!%A') end", "0"),
    ("function f(x) return os.time() // 86400 end", "0"),
)
DETERMINISTIC = (
    ("function f(x) local s = 0 for k, v in pairs(x) do s = s + v end return s end", _KEYS),
    ("function f(x) local t = {} for k, v in pairs(x) do t[v] = k end return t end", _KEYS),
    ("function f(x) local s = '' for k, v in pairs(x) do s = s .. v end return s end", "{'a', 'b', [4] = 'c'}"),
)

PROGRAMS = (
    ("function f(x) return g(x) end\nfunction g(x) return x + 1 end", "2"),
    ("local function f(x) return x * 2 end", "2"),
    ("local f = function(x) return x end -- the end", "2"),
    ("local function g(x) return x end\nf = g", "'a'"),
    ("function f(x) return later end\nlocal later = 1", "0"),
    ("local g\nfunction f(x) return g(x) end\nfunction g(x) return x end", "3"),
    ("#!/usr/bin/env lua\nfunction f(x) return 'after the first line' end", "0"),
    ("function f(x) return 7 // 2, 1 end", "0"),
    ("function f(x) end", "0"),
    ("function f(x) return x / 2, x end", "7"),
    ("function f(x) return {x // 2, x % 3, x ^ 2, x / 2, -x // 2, x // 2.0, 7 % -3, -7 % 3} end", "7"),
    ("function f(x) return {1 == 1.0, math.type(1), math.type(1.0), 1 < 1.5, '10' + 5, 10 .. 20} end", "0"),
    ("function f(x) return math.maxinteger + x end", "1"),
    ("function f(x) return {x << 3, x >> 1, x & 6, x | 8, x ~ 1, ~x} end", "5"),
    ("function f(x) return {#x, x:upper(), x:reverse(), x:sub(2, 3), x:byte(1, -1)} end", "'hello'"),
    ("function f(x) return {#x, utf8.len(x), utf8.codepoint(x, 1, -1)} end", "'é😀'"),
    ("function f(x) return {x:gsub('l+', '<%0>')} end", "'hello all'"),
    ("function f(x) local t = {} for k, v in x:gmatch('(%w+)=(%w+)') do t[k] = v end return t end", "'a=1, b=2'"),
    ("function f(x) return string.format('%5.2f|%-5d|%q|%x|%s', x, 3, 'a\\n', 255, {} ~= nil) end", "3.14159"),
    ("function f(x) table.sort(x, function(a, b) return a > b end) return x end", "{3, 1, 2}"),
    ("function f(x) table.insert(x, 2, 'n') table.remove(x, 1) return {x, table.concat(x, '-')} end", "{1, 2, 3}"),
    ("function f(x) local t = {} for i = 10, 1, -3 do t[#t + 1] = i end return t end", "0"),
    ("function f(x) local t = {} for i = 1, 2, 0.25 do t[#t + 1] = i end return t end", "0"),
    ("function f(...) return {select('#', ...), ...} end", "nil"),
    ("function f(x) return select(2, pcall(error, {code = x})) end", "5"),
    ("function f(x) local ok, e = pcall(function() local y = x.a.b end) return e:match(':%d+: .*') end", "{}"),
    ("function f(x) local ok, e = pcall(error, 'plain', 0) return e end", "0"),
    ("local C = {} C.__index = C\nfunction C.new(n) return setmetatable({n = n}, C) end\n"
     "function C:get() return self.n end\nfunction f(x) return C.new(x):get() end", "9"),
    ("local V = {__add = function(a, b) return a.n + b.n end, __len = function() return 7 end,\n"
     "__call = function(self, x) return x end, __index = function(t, k) return k end}\n"
     "function f(x) local v = setmetatable({n = x}, V) return {v + v, #v, v(3), v.other} end", "2"),
    ("function f(x) local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i * x) end end)\n"
     "return {co(), co(), co()} end", "5"),
    ("function f(x) local n = 0 local function up() n = n + x return n end up() return up() end", "4"),
    ("function f(x)\n  for i = 1, 3 do\n    for j = 1, 3 do\n      if j == 2 then goto continue end\n      x = x + 1\n"
     "      ::continue::\n    end\n  end\n  return x\nend", "0"),
    ("function f(x) local a <const>, b = 1, 2 do local a = 3 b = b + a end return {a, b} end", "0"),
    ("function f(x) local t = {10, 20, nil, 40} return {t[4], x[3]} end", "{1, nil, 3}"),
    ("function f(x) x.new = #x x[1] = nil return x end", "{1, 2, k = 'v'}"),
    ("function f(x) return load('return ' .. x)() end", "'1 + 2 * 3'"),
    ("f = load('return function(x) return x + 100 end')()", "1"),
    ("function f(x) return {tostring(1e15), tostring(2^53), tostring(1e100), 1e15 // 1, tostring(-0.0)} end", "0"),
    ("function f(x) return {tonumber('0x10'), tonumber('1e1'), tonumber('z', 36), tonumber('8', 8) == nil} end", "0"),
    ("function f(x) return string.pack('>I2', x) end", "258"),
    ("function f(x) return {arg[0]:match('program.lua'), #arg, debug.getinfo(1, 'l').currentline} end", "0"),
    ("function f(x) return {_VERSION, _G.f == f, _ENV == _G, type(require), package.loaded.string == string} end", "0"),
    ("function f(x) print('noise', x) io.write('more') io.stderr:write('noise') return 1 end", "2"),
    ("function f(x) return {math.max(1, 2.5), math.floor(-3.5), math.tointeger(3.0), math.fmod(-7, 3)} end", "0"),
    ("function f(x) local t = setmetatable({}, {__close = function() x[1] = 'closed' end}) do local y <close> = t end\n"
     "return x end", "{}"),
    ("function f(x) return x.a.b end", "{}"),
    ("function f(x) return x + {} end", "1"),
    ("function f(x) return nothing() end", "1"),
    ("function f(x) return #5 end", "1"),
    ("function f(x) return x < 'a' end", "1"),
    ("function f(x) error('with a position: ' .. x) end", "'p'"),
    ("function f(x) error('with none', 0) end", "1"),
    ("function f(x) error({}) end", "1"),
    ("function f(x) error(setmetatable({}, {__tostring = function() return 'told' end})) end", "1"),
    ("function f(x) for k in pairs(nil) do end end", "1"),
    ("function f(x) return ('x'):bad() end", "1"),
    ("function f(x) return 1 // 0 end", "1"),
    ("function f(x) return string.rep('x', -1, 5, 6) .. math.floor('a') end", "1"),
    ("function f(x) return require('not.there') end", "1"),
    ("assert(false, 'at load')\nfunction f(x) return 1 end", "1"),
    ("f = 5", "1"),
    ("x = = 1\nfunction f(x) return 1 end", "1"),
    ("function f(x) return 1 end end", "1"),
    ("function f(x) goto nowhere end", "1"),
    ("function f(x) local a <const> = 1 a = 2 end", "1"),
    ("function f(x) return 'unfinished\nend", "1"),
    ("function f(x) break end", "1"),
    ("os.exit(3)", "1"),
)  # fmt: skip

_SHOW = """
local function azr_show(v)
  if type(v) ~= "table" then return string.format("%q", v) end
  local parts = {}
  for k, x in pairs(v) do parts[#parts + 1] = "[" .. azr_show(k) .. "] = " .. azr_show(x) end
  return "{" .. table.concat(parts, ", ") .. "}"
end
"""


def as_file(source: str, text: str) -> str:
    """`source` with an end that prints f's value."""
    return f'{source}\n{_SHOW}\nio.write("value:", azr_show((f({text}))))\n'


def names(verdict, stderr: str) -> bool:
    """Whether the interpreter's standard error tells of the verdict's error."""
    # Without the line: that of an error at the end of the file is another's.
    return verdict.message.split("\n")[0].removeprefix("program.lua:1: ") in stderr
