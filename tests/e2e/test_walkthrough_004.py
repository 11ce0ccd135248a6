"""Walkthrough 004: a FastAPI service behind the gateway, HS256 tokens of a PyJWT script, asked for with curl."""

import json
import subprocess
import time

import jwt

CONFIG = """
_format_version: "3.0"
services:
- name: fastapi
  url: http://127.0.0.1:{service}
  routes:
  - name: kong
    paths: [/kong]
    strip_path: true
plugins:
- name: jwt
  instance_name: jwt-authentication
  config:
    claims_to_verify: [exp]
    key_claim_name: iss
    maximum_expiration: 600
consumers:
- username: lab
  jwt_secrets:
  - key: jwttoken
    secret: "!Qwaszxerdfcv"
    algorithm: HS256
"""


def mint(lifetime):
    now = int(time.time())
    return jwt.encode({"iat": now, "exp": now + lifetime, "iss": "jwttoken"}, "!Qwaszxerdfcv", algorithm="HS256")


def curl(gate, token=None):
    command = ["curl", "-s", "-w", "\n%{http_code}", gate.url("/kong/healthy")]
    if token:
        command += ["-H", f"Authorization: Bearer {token}"]
    body, _, status = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rpartition("\n")
    return int(status), json.loads(body)


def test_the_lab(gateway, service):
    gate = gateway(CONFIG.format(service=service))
    good = mint(600)
    assert curl(gate, good) == (200, {"status": "healthy"})
    assert curl(gate) == (401, {"message": "Unauthorized"})
    assert curl(gate, mint(0)) == (401, {"exp": "token expired"})
    assert curl(gate, mint(3600)) == (401, {"exp": "exceeds maximum allowed expiration"})
    for place in range(0, len(good), 7):
        if good[place] == ".":
            continue
        changed = good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1:]
        status, _ = curl(gate, changed)
        assert status == 401, f"the token with character {place} changed was accepted"
    assert "!Qwaszxerdfcv" not in gate.log() and good not in gate.log()
