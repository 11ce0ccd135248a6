-- The gateway's job in nginx: bearer token, algorithm, issuer, exp, signature, a header for the service. With LuaJIT's FFI to
-- the libcrypto that nginx is linked with, which is the leanest form of what OpenResty and its kin do.
local ffi = require "ffi"
local cjson = require "cjson.safe"
local base64 = require "ngx.base64"
local C = ffi.C

ffi.cdef [[
typedef struct evp_md_st EVP_MD; typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_md_ctx_st EVP_MD_CTX; typedef struct bio_st BIO;
const EVP_MD *EVP_sha256(void);
unsigned char *HMAC(const EVP_MD *md, const void *key, int key_len, const unsigned char *data, size_t length,
                    unsigned char *out, unsigned int *out_length);
int CRYPTO_memcmp(const void *a, const void *b, size_t n);
BIO *BIO_new_mem_buf(const void *data, int length); int BIO_free(BIO *bio);
EVP_PKEY *PEM_read_bio_PUBKEY(BIO *bio, EVP_PKEY **key, void *callback, void *user);
EVP_MD_CTX *EVP_MD_CTX_new(void); int EVP_MD_CTX_reset(EVP_MD_CTX *context);
int EVP_DigestVerifyInit(EVP_MD_CTX *context, void **pkey, const EVP_MD *digest, void *engine, EVP_PKEY *key);
int EVP_DigestVerify(EVP_MD_CTX *context, const unsigned char *signature, size_t signature_length,
                     const unsigned char *message, size_t message_length);
]]

local M = {}
local algorithm, issuer, key, digest, context
local mac, mac_length = ffi.new("unsigned char[64]"), ffi.new("unsigned int[1]")

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

function M.init(options)
  algorithm, issuer = options.algorithm, options.issuer
  digest, context = C.EVP_sha256(), C.EVP_MD_CTX_new()
  local text = read(options.key)
  if algorithm == "HS256" then
    key = text
  else
    local bio = C.BIO_new_mem_buf(text, #text)
    key = C.PEM_read_bio_PUBKEY(bio, nil, nil, nil)
    C.BIO_free(bio)
    assert(key ~= nil, "unreadable public key")
  end
end

-- An unsigned big-endian number as a DER INTEGER.
local function integer(bytes)
  bytes = bytes:gsub("^%z+", "")
  if bytes == "" or bytes:byte(1) >= 128 then bytes = "\0" .. bytes end
  return "\2" .. string.char(#bytes) .. bytes
end

local function verifies(message, signature)
  if algorithm == "HS256" then
    C.HMAC(digest, key, #key, message, #message, mac, mac_length)
    return #signature == 32 and C.CRYPTO_memcmp(mac, signature, 32) == 0
  end
  if algorithm == "ES256" then
    if #signature ~= 64 then return false end
    local body = integer(signature:sub(1, 32)) .. integer(signature:sub(33))
    signature = "\48" .. string.char(#body) .. body
  end
  C.EVP_MD_CTX_reset(context)
  local hash = algorithm ~= "EdDSA" and digest or nil
  return C.EVP_DigestVerifyInit(context, nil, hash, nil, key) == 1
    and C.EVP_DigestVerify(context, signature, #signature, message, #message) == 1
end

local function refuse()
  ngx.header["WWW-Authenticate"] = "Bearer"
  ngx.status = 401
  ngx.print("unauthorized\n")
  return ngx.exit(401)
end

function M.check()
  local header = ngx.var.http_authorization
  if not header or header:sub(1, 7) ~= "Bearer " then return refuse() end
  local first = header:find(".", 8, true)
  local second = first and header:find(".", first + 1, true)
  if not second then return refuse() end
  local head = cjson.decode(base64.decode_base64url(header:sub(8, first - 1)) or "")
  local claims = cjson.decode(base64.decode_base64url(header:sub(first + 1, second - 1)) or "")
  local signature = base64.decode_base64url(header:sub(second + 1))
  if type(head) ~= "table" or type(claims) ~= "table" or not signature then return refuse() end
  if head.alg ~= algorithm or claims.iss ~= issuer then return refuse() end
  if type(claims.exp) ~= "number" or claims.exp <= ngx.time() then return refuse() end
  if not verifies(header:sub(8, second - 1), signature) then return refuse() end
  ngx.req.set_header("X-Consumer-Username", claims.sub)
end

return M
