// Mints one token: node mint.mjs LIBRARY ALGORITHM < {"claims": {…}, "key": PEM or secret}
import { readFileSync } from "node:fs";
import { createPrivateKey, createSecretKey } from "node:crypto";
import { SignJWT } from "jose";
import jsonwebtoken from "jsonwebtoken";

const [library, algorithm] = process.argv.slice(2);
const { claims, key } = JSON.parse(readFileSync(0, "utf8"));
const prepared = algorithm.startsWith("HS") ? createSecretKey(Buffer.from(key)) : createPrivateKey(key);
if (library === "jose") {
  console.log(await new SignJWT(claims).setProtectedHeader({ alg: algorithm, typ: "JWT" }).sign(prepared));
} else {
  console.log(jsonwebtoken.sign(claims, prepared, { algorithm, noTimestamp: true }));
}
