"""Walkthrough 003: the jwt plugin by declarative file: sources, algorithms, claims, headers to the service, anonymous."""

import json
import time

import jwt
import pytest


def indent(text, by):
    return "\n".join(" " * by + line for line in text.strip().splitlines())


def configuration(keys, service):
    return f"""
_format_version: "3.0"
services:
- name: echo
  url: http://127.0.0.1:{service}/anything
  routes:
  - name: plain
    paths: [/plain]
    plugins:
    - name: jwt
      config:
        cookie_names: [session]
        uri_param_names: [jwt, token]
  - name: checked
    paths: [/checked]
    plugins:
    - name: jwt
      config:
        claims_to_verify: [exp, nbf]
  - name: by-kid
    paths: [/by-kid]
    plugins:
    - name: jwt
      config:
        key_claim_name: kid
  - name: open
    paths: [/open]
    plugins:
    - name: jwt
      config:
        anonymous: guest
consumers:
- username: alice
  custom_id: alice-7
- username: guest
jwt_secrets:
- consumer: alice
  key: hs
  secret: "0123456789abcdef0123456789abcdef"
- consumer: alice
  key: rs
  algorithm: RS256
  secret: dummy
  rsa_public_key: |
{indent(keys.public_pem("RS256"), 4)}
- consumer: alice
  key: es
  algorithm: ES256
  rsa_public_key: |
{indent(keys.public_pem("ES256"), 4)}
"""


@pytest.fixture
def gate(gateway, service, keys):
    return gateway(configuration(keys, service))


def hs(**claims):
    return jwt.encode({"iss": "hs", **claims}, "0123456789abcdef0123456789abcdef", algorithm="HS256")


def seen(answer):
    assert answer.status == 200, answer
    return json.loads(answer.body)["headers"]


def test_sources(gate):
    token = hs()
    for path, headers in [
        ("/plain", {"Authorization": f"Bearer {token}"}),
        (f"/plain?jwt={token}", {}),
        (f"/plain?token={token}", {}),
        ("/plain", {"Cookie": f"other=1; session={token}"}),
        (f"/plain?jwt={token}", {"Cookie": f"session={token}", "Authorization": f"Bearer {token}"}),
    ]:
        got = seen(gate.get(path, headers=headers))
        assert got["X-Consumer-Username"] == "alice"
        assert got["X-Consumer-Custom-Id"] == "alice-7"
        assert got["X-Credential-Identifier"] == "hs"
        assert "X-Anonymous-Consumer" not in got
    two = gate.get(f"/plain?jwt={token}", hs(sub="other"))
    assert (two.status, json.loads(two.body)) == (401, {"message": "Multiple tokens provided"})


def test_asymmetric_credentials(gate, keys):
    for key, algorithm in (("rs", "RS256"), ("es", "ES256")):
        token = jwt.encode({"iss": key}, keys.private_pem(algorithm), algorithm=algorithm)
        assert seen(gate.get("/plain", token))["X-Credential-Identifier"] == key
        forged = jwt.encode({"iss": key}, keys.private_pem("ES384" if key == "es" else "RS256"),
                            algorithm="ES384" if key == "es" else "RS512")
        assert json.loads(gate.get("/plain", forged).body) == {"message": "Invalid algorithm"}


def test_key_claim(gate):
    in_header = jwt.encode({"sub": "x"}, "0123456789abcdef0123456789abcdef", algorithm="HS256", headers={"kid": "hs"})
    assert seen(gate.get("/by-kid", in_header))["X-Consumer-Username"] == "alice"
    assert json.loads(gate.get("/by-kid", hs()).body) == {"message": "No mandatory 'kid' in claims"}


def test_claims(gate):
    now = int(time.time())
    assert gate.get("/checked", hs(exp=now + 60, nbf=now - 1)).status == 200
    for claims, body in [
        ({}, {"exp": "must be a number", "nbf": "must be a number"}),
        ({"exp": now - 1, "nbf": now - 2}, {"exp": "token expired"}),
        ({"exp": now + 60, "nbf": now + 30}, {"nbf": "token not valid yet"}),
    ]:
        answer = gate.get("/checked", hs(**claims))
        assert (answer.status, json.loads(answer.body)) == (401, body)
        assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_anonymous(gate):
    got = seen(gate.get("/open", headers={"X-Consumer-Username": "root", "X_Consumer_Username": "root"}))
    assert got["X-Anonymous-Consumer"] == "true" and got["X-Consumer-Username"] == "guest"
    assert "X-Credential-Identifier" not in got and "root" not in json.dumps(got)
    assert seen(gate.get("/open", hs()))["X-Consumer-Username"] == "alice"
