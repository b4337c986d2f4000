-- Values as text and values from text. All functions used are bound here, before any program runs.

local type, error, rawget, raw_next, tonumber = type, error, rawget, next, tonumber
local find, match, sub, byte, char = string.find, string.match, string.sub, string.byte, string.char
local format = string.format
local concat, sort, unpack, math_type = table.concat, table.sort, table.unpack, math.type
local utf8_len, codepoint, utf8_char, offset = utf8.len, utf8.codepoint, utf8.char, utf8.offset
local metatable = debug.getmetatable
local huge, mininteger, maxinteger, pi = math.huge, math.mininteger, math.maxinteger, math.pi
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
    -- An estimate in bytes, with separators; the end checks exactly.
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

-- Reads the values in a text: their list and number; one value, or with `several` an argument list.
local function parse(text, several)
  local at, depth = 1, 0
  local value

  local function fail() error(NOT_A_VALUE) end

  local function skip() at = find(text, "[^ \t\r\n\v\f]", at) or #text + 1 end

  local function take(pattern)
    local taken = match(text, "^" .. pattern, at)
    if taken then at = at + #taken end
    return taken
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
    local filled = holes and {unpack(list, 1, count)} or list
    for index = 1, #keys do
      local key = keys[index]
      if not (math_type(key) == "integer" and key >= 1 and key <= count) then
        local item = values[index]
        if item == NOT_A_VALUE then item = nil end
        filled[key] = item
      end
    end
    return filled
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

return {
  make_emitter = make_emitter, parse = parse, string_text = string_text,
  UNSERIALISABLE = UNSERIALISABLE, TOO_LONG = TOO_LONG, NOT_A_VALUE = NOT_A_VALUE,
  culprit = function() return culprit end,
}
