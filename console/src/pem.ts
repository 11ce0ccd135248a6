// What a pasted PEM is, before anything is sent: a private key must never leave the field it was pasted into.

export type Pasted = { kind: "public" } | { kind: "private" | "certificate" | "nothing" | "truncated" | "other"; fault: string };

export function look(text: string): Pasted {
  const trimmed = text.trim();
  if (!trimmed) return { kind: "nothing", fault: "Paste the public key in PEM" };
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(trimmed)) return { kind: "private", fault: "This is a private key. It was not sent. Paste the public key that belongs to it: openssl pkey -in key.pem -pubout" };
  if (/-----BEGIN (TRUSTED )?CERTIFICATE-----/.test(trimmed)) return { kind: "certificate", fault: "This is a certificate. Take the public key out of it: openssl x509 -in cert.pem -pubkey -noout" };
  if (!/-----BEGIN (RSA )?PUBLIC KEY-----/.test(trimmed)) return { kind: "other", fault: "A public key in PEM begins with -----BEGIN PUBLIC KEY-----" };
  if (!/-----END (RSA )?PUBLIC KEY-----$/.test(trimmed)) return { kind: "truncated", fault: "The end is missing: -----END PUBLIC KEY-----" };
  return { kind: "public" };
}

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** A secret as the Admin API makes them: 32 letters and digits. */
export function secret(): string {
  const out: string[] = [];
  while (out.length < 32) {
    // 248 is the largest multiple of 62 in a byte: the rest would favour some letters.
    for (const byte of crypto.getRandomValues(new Uint8Array(48))) if (byte < 248 && out.length < 32) out.push(LETTERS[byte % 62]!);
  }
  return out.join("");
}
