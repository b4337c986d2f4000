local type, select, pcall, error, load, rawget, rawlen = type, select, pcall, error, load, rawget, rawlen
local rawequal = rawequal
local raw_next, tonumber, tostring, globals = next, tonumber, tostring, _G
local find, match, sub = string.find, string.match, string.sub
local concat, sort, unpack = table.concat, table.sort, table.unpack
local utf8_len, offset = utf8.len, utf8.offset
local metatable, sethook, setlocale, exit = debug.getmetatable, debug.sethook, os.setlocale, os.exit
local stderr, write = io.stderr, io.stderr.write
local values = dofile(match(arg[0], "^.*/") .. "values.lua")
local make_emitter, parse, string_text, culprit = values.make_emitter, values.parse, values.string_text, values.culprit
local UNSERIALISABLE, TOO_LONG, NOT_A_VALUE = values.UNSERIALISABLE, values.TOO_LONG, values.NOT_A_VALUE
values = nil

-- Inputs ------------------------------------------------------------------------------------------------------------

-- Evaluates an argument list: the arguments and their number, or nil and the error.
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
      local entry = rawget(t, keys[index])
      if entry ~= nil then return keys[index], entry, index end
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
    local entry, value = following(t, order.keys, position)
    return entry, value
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

-- The program's texts enter the reply only as UTF-8.
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
    if rawequal(problem, UNSERIALISABLE) then return {"unserialisable", culprit(), "the value can't be written down"} end
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
    -- The interpreter skips these in a file, but not in a text.
    source = match(source, "^\xEF\xBB\xBF(.*)") or source
    source = match(source, "^#[^\n]*(.*)") or source
    local chunk, problem = load(source, "@program.lua", "t")
    if not chunk then return {"syntax_error", "syntax", clean(problem, message_chars)} end
    -- With this ending the file returns an f that is local to it.
    local with_f = load(source .. "\nreturn f", "@program.lua", "t")
    local good, result = pcall(with_f or chunk)
    if not good then return failure(result) end
    f = globals.f
    if with_f or f == nil and find(source, "%f[%w_]return[%s(]+f[%s);]*$") then f = result end
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
end
-- The reply uses the descriptor of standard error: what a program writes there is discarded, as its output is.
io.stderr = io.stdout
function warn() end
arg = {[0] = "program.lua"}
local claim = answer(kind, value_chars, message_chars, source, inputs)
local parts = {#claim .. "\n"}
for index = 1, #claim do parts[index + 1] = #claim[index] .. "\n" .. claim[index] end
write(stderr, concat(parts))
exit(0)
