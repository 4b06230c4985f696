-- One call for many arguments, in slices that Lua's stack can unpack.
local function each_slice(args, size, call)
  for first = 1, #args, size do
    call(unpack(args, first, math.min(first + size - 1, #args)))
  end
end

local function write_all(command, key, args)
  if #args <= 4000 then return redis.call(command, key, unpack(args)) end
  each_slice(args, 4000, function(...) redis.call(command, key, ...) end)
end

-- A number as `redis.call` would write it, which costs more than the rest of an argument: once for all that are equal.
local texts = {}
local function as_text(number)
  local text = texts[number]
  if not text then
    text = string.format(number % 1 == 0 and number < 1e15 and '%d' or '%.17g', number)
    texts[number] = text
  end
  return text
end
