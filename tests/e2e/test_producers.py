"""Tokens of independent libraries: every algorithm is accepted, every mutation refused."""

import base64
import json
import os
import subprocess
import time

import jwt
import pytest
from jwcrypto import jwk as jwcrypto_jwk
from jwcrypto import jwt as jwcrypto_jwt

HERE = os.path.dirname(__file__)
ALGORITHMS = [kind + bits for kind in ("HS", "RS", "PS", "ES") for bits in ("256", "384", "512")] + ["EdDSA"]
SECRET = "a-secret-of-more-than-sixty-four-bytes-so-that-hs512-has-nothing-to-say-0123456789"
LIBRARIES = ["PyJWT", "jwcrypto", "jose", "jsonwebtoken", "josekit"]
# Node's jsonwebtoken has no EdDSA.
UNSUPPORTED = {("jsonwebtoken", "EdDSA")}


def mint(library, algorithm, claims, keys):
    key = SECRET if algorithm.startswith("HS") else keys.private_pem(algorithm)
    if library == "PyJWT":
        return jwt.encode(claims, key, algorithm=algorithm)
    if library == "jwcrypto":
        if algorithm.startswith("HS"):
            k = base64.urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode()
            made = jwcrypto_jwk.JWK(kty="oct", k=k)
        else:
            made = jwcrypto_jwk.JWK.from_pem(key.encode())
        token = jwcrypto_jwt.JWT(header={"alg": algorithm, "typ": "JWT"}, claims=claims)
        token.make_signed_token(made)
        return token.serialize()
    if library == "josekit":
        return printed([os.environ["E2E_JOSEKIT"]], {"algorithm": algorithm, "claims": claims, "key": key})
    node = os.environ["E2E_NODE"]
    script = os.path.join(node, "mint.mjs")
    with open(os.path.join(HERE, "producers/mint.mjs")) as source, open(script, "w") as copy:
        copy.write(source.read())
    return printed(["node", script, library, algorithm], {"claims": claims, "key": key})


def printed(command, asked):
    """What a program prints that is asked in JSON."""
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout.strip()


def configuration(keys, service):
    credentials = []
    for algorithm in ALGORITHMS:
        credential = {"key": f"key-{algorithm}", "algorithm": algorithm, "secret": SECRET}
        if not algorithm.startswith("HS"):
            credential["rsa_public_key"] = keys.public_pem(algorithm)
        credentials.append(credential)
    return json.dumps({
        "_format_version": "3.0",
        "services": [{
            "name": "echo", "url": f"http://127.0.0.1:{service}",
            "routes": [{"name": "all", "paths": ["/"], "plugins": [{"name": "jwt", "config": {"claims_to_verify": ["exp"]}}]}],
        }],
        "consumers": [{"username": "caller", "jwt_secrets": credentials}],
    })


def mutations(token):
    header, payload, signature = token.split(".")
    flipped = ("A" if signature[10] != "A" else "B").join((signature[:10], signature[11:]))
    other = base64.urlsafe_b64encode(b'{"iss":"key-HS256","exp":99999999999,"admin":true}').rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    yield "signature changed", f"{header}.{payload}.{flipped}"
    yield "signature cut", f"{header}.{payload}.{signature[:-4]}"
    yield "no signature", f"{header}.{payload}."
    yield "payload changed", f"{header}.{other}.{signature}"
    yield "alg none", f"{none}.{payload}."
    yield "segment added", f"{token}.{signature}"
    yield "segment missing", f"{header}.{payload}"
    yield "padded", f"{token}="


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_algorithm(library, gateway, service, keys):
    gate = gateway(configuration(keys, service))
    checked = 0
    for algorithm in ALGORITHMS:
        if (library, algorithm) in UNSUPPORTED:
            continue
        claims = {"iss": f"key-{algorithm}", "exp": int(time.time()) + 600, "sub": "é"}
        token = mint(library, algorithm, claims, keys)
        accepted = gate.get("/x", token)
        assert accepted.status == 200, (library, algorithm, accepted)
        seen = json.loads(accepted.body)["headers"]
        assert seen["X-Consumer-Username"] == "caller" and seen["X-Credential-Identifier"] == f"key-{algorithm}"
        for what, mutated in mutations(token):
            refused = gate.get("/x", mutated)
            assert refused.status == 401, (library, algorithm, what, refused)
        stale = mint(library, algorithm, {**claims, "exp": int(time.time()) - 1}, keys)
        assert json.loads(gate.get("/x", stale).body) == {"exp": "token expired"}
        checked += 1
    assert checked >= 12
    assert "eyJ" not in gate.log(), "a token reached the log"
