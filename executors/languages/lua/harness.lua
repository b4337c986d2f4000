local type, select, pcall, error, load, rawget, rawlen = type, select, pcall, error, load, rawget, rawlen
local rawequal = rawequal
local raw_next, tonumber, tostring, globals = next, tonumber, tostring, _G
local find, match, sub, byte, char = string.find, string.match, string.sub, string.byte, string.char
local format = string.format
local concat, sort, unpack, math_type = table.concat, table.sort, table.unpack, math.type
local utf8_len, codepoint, utf8_char, offset = utf8.len, utf8.codepoint, utf8.char, utf8.offset
local metatable, sethook, setlocale, exit = debug.getmetatable, debug.sethook, os.setlocale, os.exit
local huge, mininteger, maxinteger, pi = math.huge, math.mininteger, math.maxinteger, math.pi
local stderr, write = io.stderr, io.stderr.write
local MAX_DEPTH = 150

-- Values as text ----------------------------------------------------------------------------------------------------

local ESCAPES = {["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ['"'] = '\\"', ["\\"] = "\\\\"}
local WORDS = {}
for word in string.gmatch("and break do else elseif end false for function goto if in local nil not or repeat return "
                          .. "then true until while", "%a+") do
  WORDS[word] = true
end

local function invisible(code)
  return code < 0xA0 or code >= 0x200B and code <= 0x200F or code >= 0x2028 and code <= 0x202E
    or code >= 0x2060 and code <= 0x206F or code == 0xFEFF
end

local function string_text(text)
  if not find(text, '[%c"\\\128-\255]') then return '"' .. text .. '"' end
  local parts, at = {'"'}, 1
  while at <= #text do
    local plain = match(text, '^[^%c"\\\128-\255]+', at)
    local part, stop
    if plain then
      part, stop = plain, at + #plain
    elseif byte(text, at) < 128 then
      part, stop = sub(text, at, at), at + 1
      part = ESCAPES[part] or format("\\x%02x", byte(part))
    elseif utf8_len(text, at, at) then
      local code = codepoint(text, at)
      stop = offset(text, 2, at)
      part = invisible(code) and format("\\u{%x}", code) or sub(text, at, stop - 1)
    else
      part, stop = format("\\x%02x", byte(text, at)), at + 1
    end
    parts[#parts + 1], at = part, stop
  end
  parts[#parts + 1] = '"'
  return concat(parts)
end

local function number_text(number)
  if math_type(number) == "integer" then
    return number == mininteger and "math.mininteger" or format("%d", number)
  elseif number ~= number then
    return "0/0"
  elseif number == huge or number == -huge then
    return number == huge and "math.huge" or "-math.huge"
  end
  local text
  for digits = 15, 17 do
    text = format("%." .. digits .. "g", number)
    if tonumber(text) == number then break end
  end
  return find(text, "[.e]") and text or text .. ".0"
end

local RANK = {number = 1, string = 2, boolean = 3}

local function key_before(a, b)
  local x, y = RANK[type(a)], RANK[type(b)]
  if x ~= y then return x < y end
  if x == 3 then return not a and b end
  return a < b
end

local UNSERIALISABLE, TOO_LONG = {}, {}
local culprit

local function refuse(what)
  culprit = what
  error(UNSERIALISABLE)
end

local function make_emitter(max_chars)
  local left, open = 0, {}

  local function spend(text)
    left = left - #text
    if left < 0 then error(TOO_LONG) end
    return text
  end

  local emit

  local function table_text(value, depth)
    if metatable(value) then refuse("a table with a metatable") end
    if open[value] then refuse("a table that holds itself") end
    if depth >= MAX_DEPTH then refuse("more than " .. MAX_DEPTH .. " levels") end
    open[value] = true
    local parts, count = {}, 0
    while rawget(value, count + 1) ~= nil do
      count = count + 1
      parts[count] = emit(rawget(value, count), depth + 1)
      spend(", ")
    end
    local keys = {}
    for key in raw_next, value do
      if not (math_type(key) == "integer" and key >= 1 and key <= count) then
        if not RANK[type(key)] then refuse("a key that is a " .. type(key)) end
        keys[#keys + 1] = key
        if 4 * #keys > left then error(TOO_LONG) end
      end
    end
    sort(keys, key_before)
    for index = 1, #keys do
      local key = keys[index]
      local name = type(key) == "string" and match(key, "^[%a_][%w_]*$")
      if not name or WORDS[name] then name = "[" .. emit(key, depth + 1) .. "]" else spend(name) end
      parts[#parts + 1] = name .. " = " .. emit(rawget(value, key), depth + 1)
      spend(" = , ")
    end
    open[value] = nil
    return "{" .. concat(parts, ", ") .. "}"
  end

  function emit(value, depth)
    local kind = type(value)
    if kind == "nil" then return spend("nil") end
    if kind == "boolean" then return spend(value and "true" or "false") end
    if kind == "number" then return spend(number_text(value)) end
    if kind == "string" then
      if #value > left then error(TOO_LONG) end
      return spend(string_text(value))
    end
    if kind == "table" then return table_text(value, depth) end
    refuse(kind)
  end

  return function(list, count)
    -- In bytes, and loosely with separators; exactly at the end.
    left, open = 4 * max_chars + 64, {}
    local texts = {}
    for index = 1, count do texts[index] = emit(list[index], 0) end
    local text = concat(texts, ", ")
    if utf8_len(text) > max_chars then error(TOO_LONG) end
    return text
  end
end

-- Values from text: literals and table constructors, nothing is run -------------------------------------------------

local NOT_A_VALUE = {}
local NAMES = {["math.huge"] = huge, ["math.pi"] = pi, ["math.maxinteger"] = maxinteger,
               ["math.mininteger"] = mininteger}
local SIMPLE = {a = "\a", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", v = "\v", ["\\"] = "\\", ['"'] = '"',
                ["'"] = "'", ["\n"] = "\n"}

-- From a text to the list of values in it and their number: one value, or with `several` an argument list.
local function parse(text, several)
  local at, depth = 1, 0
  local value

  local function fail() error(NOT_A_VALUE) end

  local function skip() at = find(text, "[^ \t\r\n\v\f]", at) or #text + 1 end

  local function take(pattern)
    local found = match(text, "^" .. pattern, at)
    if found then at = at + #found end
    return found
  end

  local function take_symbol(pattern)
    skip()
    return take(pattern)
  end

  local function number()
    local start = at
    if take("0[xX]") then
      take("%x*%.?%x*")
      take("[pP][+-]?%d+")
    else
      take("%d*%.?%d*")
      take("[eE][+-]?%d+")
    end
    if find(text, "^[%w_.]", at) then fail() end
    return tonumber(sub(text, start, at - 1)) or fail()
  end

  local function escape()
    local letter = sub(text, at, at)
    if SIMPLE[letter] then
      at = at + 1
      return SIMPLE[letter]
    end
    local code = match(text, "^x(%x%x)", at)
    if code then
      at = at + 3
      return char(tonumber(code, 16))
    end
    code = match(text, "^u{0*(%x+)}", at)
    if code then
      if #code > 8 or tonumber(code, 16) > 0x7FFFFFFF then fail() end
      take("u{%x+}")
      return utf8_char(tonumber(code, 16))
    end
    if take("z") then
      skip()
      return ""
    end
    code = take("%d%d?%d?")
    if not code or tonumber(code) > 255 then fail() end
    return char(tonumber(code))
  end

  local function short_string(quote)
    local parts = {}
    while true do
      parts[#parts + 1] = take("[^\n\\" .. quote .. "]+") or ""
      if take(quote) then return concat(parts) end
      if not take("\\") then fail() end
      parts[#parts + 1] = escape()
    end
  end

  local function long_string()
    local level = match(text, "^%[(=*)%[", at)
    local first = at + 2 + #level
    if sub(text, first, first) == "\n" then first = first + 1 end
    local stop, last = find(text, "]" .. level .. "]", first, true)
    if not stop then fail() end
    at = last + 1
    return sub(text, first, stop - 1)
  end

  local function constructor()
    local list, count, keys, values, holes = {}, 0, {}, {}, false
    while not take_symbol("}") do
      local key
      local name = match(text, "^([%a_][%w_]*)[ \t\r\n\v\f]*=", at)
      if name and not WORDS[name] then
        key = take("[%a_][%w_]*")
      elseif find(text, "^%[[^%[=]", at) then
        take("%[")
        key = value()
        if not take_symbol("%]") or key == nil or key ~= key then fail() end
      end
      if key ~= nil then
        if not take_symbol("=") then fail() end
        keys[#keys + 1], values[#keys + 1] = key, value()
        if values[#keys] == nil then values[#keys] = NOT_A_VALUE end
      else
        count = count + 1
        list[count] = value()
        holes = holes or list[count] == nil
      end
      if not take_symbol("[,;]") then
        if not take_symbol("}") then fail() end
        break
      end
    end
    -- As a constructor makes it: `#` of a table with holes depends on how it was filled.
    local made = holes and {unpack(list, 1, count)} or list
    for index = 1, #keys do
      local key = keys[index]
      if not (math_type(key) == "integer" and key >= 1 and key <= count) then
        local item = values[index]
        if item == NOT_A_VALUE then item = nil end
        made[key] = item
      end
    end
    return made
  end

  local function primary()
    skip()
    if find(text, "^%.?%d", at) then
      local result = number()
      skip()
      -- The only arithmetic: a division by zero, which is how Lua writes nan.
      if take("/") then
        skip()
        local divisor = find(text, "^%.?%d", at) and number()
        if divisor ~= 0 then fail() end
        result = result / divisor
      end
      return result
    end
    local quote = take("['\"]")
    if quote then return short_string(quote) end
    if find(text, "^%[=*%[", at) then return long_string() end
    if take("{") then return constructor() end
    if take("%(") then
      local inner = value()
      if not take_symbol("%)") then fail() end
      return inner
    end
    local name = take("[%a_][%w_.]*")
    if name == "nil" then return nil end
    if name == "true" or name == "false" then return name == "true" end
    return NAMES[name or ""] or fail()
  end

  function value()
    depth = depth + 1
    if depth > MAX_DEPTH + 1 then fail() end
    local result
    skip()
    if take("-") then
      -- Not `--`, a comment.
      if find(text, "^-", at) then fail() end
      result = value()
      if type(result) ~= "number" then fail() end
      result = -result
    else
      result = primary()
    end
    depth = depth - 1
    return result
  end

  local values, count = {}, 0
  repeat
    count = count + 1
    values[count] = value()
  until not (several and take_symbol(","))
  skip()
  if at <= #text then fail() end
  return values, count
end

-- The arguments that an argument list gives when it is evaluated, and their number; or nil and what went wrong.
local function evaluate(text)
  globals.f = function() error("an input can't call f: it is evaluated before and without the program", 0) end
  -- Both must compile, or a text such as "1) + (2" would pass for an argument list.
  local call, problem = load("return f(" .. text .. "\n)", "=input", "t")
  if not call then return nil, problem end
  local list, other = load("return " .. text .. "\n", "=input", "t")
  if not list then return nil, other end
  local function packed(good, ...)
    if not good then return nil, (...) end
    return {...}, select("#", ...)
  end
  return packed(pcall(list))
end

-- The order of tables with string keys ------------------------------------------------------------------------------

local function install_order(descending)
  local function has_string_key(t)
    local length = rawlen(t)
    if length > 0 and raw_next(t, length) == nil then return false end
    for key in raw_next, t do
      if type(key) == "string" then return true end
    end
    return false
  end

  local function in_order(t)
    local numbers, strings, others = {}, {}, {}
    for key in raw_next, t do
      local list = type(key) == "number" and numbers or type(key) == "string" and strings or others
      list[#list + 1] = key
    end
    sort(numbers)
    sort(strings, descending and function(a, b) return a > b end or nil)
    local keys = numbers
    for index = 1, #strings do keys[#keys + 1] = strings[index] end
    for index = 1, #others do keys[#keys + 1] = others[index] end
    return keys
  end

  -- The key after `position` that is still there.
  local function following(t, keys, position)
    for index = position + 1, #keys do
      local found = rawget(t, keys[index])
      if found ~= nil then return keys[index], found, index end
    end
    return nil
  end

  local orders = setmetatable({}, {__mode = "k"})

  function next(t, key)
    if type(t) ~= "table" then
      error("bad argument #1 to 'next' (table expected, got " .. (t == nil and "nil" or type(t)) .. ")", 2)
    end
    if not has_string_key(t) and not (orders[t] and key ~= nil) then return raw_next(t, key) end
    local order = orders[t]
    if key == nil or not order then
      order = {keys = in_order(t), positions = {}}
      for index = 1, #order.keys do order.positions[order.keys[index]] = index end
      orders[t] = order
    end
    local position = key == nil and 0 or order.positions[key]
    if not position then error("invalid key to 'next'", 2) end
    local found, value = following(t, order.keys, position)
    return found, value
  end

  function pairs(t, ...)
    local meta = metatable(t)
    local own = type(meta) == "table" and rawget(meta, "__pairs")
    if own then
      local iterator, state, control = own(t)
      return iterator, state, control
    end
    if type(t) ~= "table" or not has_string_key(t) then return raw_next, t, nil end
    local keys, position = in_order(t), 0
    return function(_, _)
      local key, value, index = following(t, keys, position)
      position = index
      return key, value
    end, t, nil
  end
end

local function install_clock(shift_s)
  local time, date, clock = os.time, os.date, os.clock
  function os.time(...)
    if select("#", ...) > 0 and (...) ~= nil then return time(...) end
    return time() + shift_s
  end
  function os.date(form, moment) return date(form, moment or time() + shift_s) end
  function os.clock() return clock() + shift_s / 1e6 end
end

-- Requests ----------------------------------------------------------------------------------------------------------

local function read_fields(data)
  local at, fields = 1, {}
  local function line()
    local stop = find(data, "\n", at, true)
    local number = tonumber(sub(data, at, stop - 1))
    at = stop + 1
    return number
  end
  for index = 1, line() do
    local length = line()
    fields[index] = sub(data, at, at + length - 1)
    at = at + length
  end
  return fields
end

-- No text of the program's gets into the reply as other than UTF-8.
local function clean(text, max_chars)
  if utf8_len(text) then
    local stop = offset(text, max_chars + 1)
    return stop and sub(text, 1, stop - 1) or text
  end
  return sub(string_text(sub(text, 1, max_chars)), 2, -2)
end

local function answer(kind, value_chars, message_chars, source, inputs)
  local emit = make_emitter(value_chars)

  local function failure(problem)
    if rawequal(problem, UNSERIALISABLE) then return {"unserialisable", culprit, "the value can't be written down"} end
    if rawequal(problem, TOO_LONG) then
      return {"output_limit", "", "the value has more than " .. value_chars .. " characters"}
    end
    if problem == "not enough memory" then return {"memory", "", ""} end
    local message, name = problem, "error"
    if type(problem) ~= "string" then
      name = type(problem)
      local meta = metatable(problem)
      local shown, told = pcall(tostring, problem)
      message = (name == "number" or meta and rawget(meta, "__tostring")) and shown and told
        or "(error object is a " .. name .. " value)"
    elseif find(problem, "stack overflow", 1, true) then
      name = "stack_overflow"
    end
    return {"runtime_error", name, clean(message, message_chars)}
  end

  local function refused(what) return {"forbidden", "NotAValue", clean(what, message_chars)} end

  local lists, counts, claim = {}, {}, {"ok", "", ""}
  for index = 1, #inputs do
    local list, count
    if kind == "expressions" then
      list, count = evaluate(inputs[index])
      sethook()
      setlocale("C")
      if not list then
        local problem = failure(count)
        if problem[1] == "memory" then return problem end
        return refused("the input can't be evaluated: " .. problem[3])
      end
      if count == 0 then return refused("no argument list: f needs an argument") end
    else
      local good
      good, list, count = pcall(parse, inputs[index], kind ~= "value")
      if not good then
        if list ~= NOT_A_VALUE then return failure(list) end
        return refused("not a value: input " .. index .. " is no literal or table constructor")
      end
    end
    lists[index], counts[index] = list, count
  end
  local f
  if kind == "evaluate" then
    -- What the interpreter skips in a file, but not in a text.
    source = match(source, "^\xEF\xBB\xBF(.*)") or source
    source = match(source, "^#[^\n]*(.*)") or source
    local chunk, problem = load(source, "@program.lua", "t")
    if not chunk then return {"syntax_error", "syntax", clean(problem, message_chars)} end
    -- A second ending gives an f that is local to the file.
    local with_f = load(source .. "\nreturn f", "@program.lua", "t")
    local good, result = pcall(with_f or chunk)
    if not good then return failure(result) end
    if with_f then f = result else f = globals.f end
    if f == nil then return {"runtime_error", "missing_function", "the program defines no function f"} end
  end
  for index = 1, #inputs do
    local list, count = lists[index], counts[index]
    if f then
      local good, value = pcall(f, unpack(list, 1, count))
      sethook()
      if not good then return failure(value) end
      setlocale("C")
      list, count = {value}, 1
    end
    local emitted, text = pcall(emit, list, count)
    if not emitted then return failure(text) end
    claim[3 + index] = text
  end
  return claim
end

local fields = read_fields(io.read("a"))
local kind, value_chars, message_chars = fields[1], tonumber(fields[2]), tonumber(fields[3])
local source, inputs = fields[5], {unpack(fields, 6)}
if kind == "evaluate" or kind == "expressions" then
  install_order(fields[4] ~= "0")
  if fields[4] ~= "0" then install_clock(100000007) end
end
-- The reply has the descriptor of standard error: what a program writes there goes nowhere, as its output does.
io.stderr = io.stdout
function warn() end
arg = {[0] = "program.lua"}
local claim = answer(kind, value_chars, message_chars, source, inputs)
local parts = {#claim .. "\n"}
for index = 1, #claim do parts[index + 1] = #claim[index] .. "\n" .. claim[index] end
write(stderr, concat(parts))
exit(0)
