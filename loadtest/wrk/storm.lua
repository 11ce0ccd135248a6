-- Tokens with a random key id each, in good form and by the right issuer: nothing but their key is wrong.
--   wrk … -s storm.lua URL -- PAYLOAD MILLISECONDS     the base64url claims, and how long a connection rests between requests
local head = "eyJhbGciOiJSUzI1NiIsICAia2lkIjoi" -- {"alg":"RS256",  "kid":"
local tail = "In0" -- "}
local rest

-- Three digits in base64, so that a key id is put together and not encoded.
local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
local triples = {}
for number = 0, 999 do
  local a, b, c = string.byte(string.format("%03d", number), 1, 3)
  local bits = a * 65536 + b * 256 + c
  local text = ""
  for shift = 3, 0, -1 do
    local at = math.floor(bits / 64 ^ shift) % 64 + 1
    text = text .. alphabet:sub(at, at)
  end
  triples[number] = text
end

function init(arguments)
  math.randomseed(os.time() + tonumber(tostring({}):match("0x(%x+)"), 16) % 1000000)
  local signature = {}
  for at = 1, 341 do
    local letter = math.random(64)
    signature[at] = alphabet:sub(letter, letter)
  end
  rest = "." .. arguments[1] .. "." .. table.concat(signature) .. "A"
  pause = tonumber(arguments[2])
end

local random = math.random
function request()
  local kid = triples[random(0, 999)] .. triples[random(0, 999)] .. triples[random(0, 999)] .. triples[random(0, 999)] .. triples[random(0, 999)]
  return wrk.format("GET", "/oidc", { Authorization = "Bearer " .. head .. kid .. tail .. rest })
end

function delay()
  return pause
end

-- Every answer must be 401, which wrk counts as an error of status.
function done(summary)
  local e = summary.errors
  io.write(string.format('RESULT {"duration_us":%d,"requests":%d,"refused":%d,"broken":%d}\n', summary.duration, summary.requests,
    e.status, e.connect + e.read + e.write + e.timeout))
end
