"""`portcullis explain`: asked of a running gateway and of a file, from an argument and from standard input."""

import json
import subprocess
import time

import jwt
import pytest

from conftest import BIN, fetch

SECRET = "explained-secret-of-more-than-32-bytes!"


@pytest.fixture
def gate(gateway, service):
    return gateway(json.dumps({
        "_format_version": "3.0",
        "services": [{"name": "s", "url": f"http://127.0.0.1:{service}", "routes": [
            {"name": "orders", "paths": ["/orders"], "plugins": [{"name": "jwt", "config": {"claims_to_verify": ["exp"]}}]},
        ]}],
        "consumers": [{"username": "alice", "jwt_secrets": [{"key": "alice", "secret": SECRET}]}],
    }), env={"PORTCULLIS_ADMIN_TOKEN": "admin-secret"})


def explain(gate, *arguments, stdin=None, env=None):
    done = subprocess.run([BIN, "explain", *arguments], input=stdin, env=env or gate.env, capture_output=True, text=True, cwd=gate.folder)
    return done.returncode, done.stdout, done.stderr


def test_the_same_from_everywhere(gate):
    now = int(time.time())
    bad = jwt.encode({"iss": "alice", "exp": now - 37}, SECRET, "HS256")
    good = jwt.encode({"iss": "alice", "exp": now + 600}, SECRET, "HS256")
    # The settings say where the gateway's Admin API is, and its token.
    for arguments, stdin in ((["-"], bad + "\n"), ([bad], None)):
        code, out, err = explain(gate, *arguments, "--request", "GET /orders/1", "--at", str(now), stdin=stdin)
        assert code == 1, err
        assert "expired 37 s ago; leeway is 0 s" in out and "[expired]" in out, out
        assert bad not in out
    code, out, err = explain(gate, good, "--route", "orders", "--json")
    assert code == 0 and json.loads(out)["principal"]["consumer"]["username"] == "alice", out + err
    code, out, err = explain(gate, "--request", "/orders", "-H", f"Authorization: Bearer {bad}", "--json", "--at", str(now))
    told = json.loads(out)
    assert code == 1 and told["reason"] == "expired"

    question = json.dumps({"url": "/orders", "headers": {"Authorization": f"Bearer {bad}"}, "at": now}).encode()
    headers = {"Content-Type": "application/json", "Kong-Admin-Token": "admin-secret"}
    assert json.loads(fetch(gate.admin_url("/explain"), headers, "POST", question).body) == told
    assert fetch(gate.admin_url("/explain"), {"Content-Type": "application/json"}, "POST", question).status == 401
    assert fetch(gate.admin_url("/live/rejects")).status == 401

    # Without a gateway, from the file; fingerprints are a process's own.
    code, out, err = explain(gate, bad, "--request", "/orders", "--config", str(gate.config), "--json", "--at", str(now))
    filed = json.loads(out)
    assert code == 1 and filed["token"].pop("fingerprint") != told["token"].pop("fingerprint")
    for step in filed["steps"] + told["steps"]:
        # The gateway has met the token before, the command has not.
        step["detail"] = step["detail"] and step["detail"].removesuffix(", cached")
    assert {**filed, "generation": told["generation"]} == told

    # What cannot be asked.
    assert explain(gate, bad, "--route", "nowhere")[0] == 2
    assert explain(gate, bad)[0] == 2
    code, _, err = explain(gate, bad, "--route", "orders", "--admin", "http://127.0.0.1:1")
    assert code == 2 and "refused" in err and bad not in err
    # Nothing of it is in any log.
    assert bad not in gate.log() and bad.split(".")[2] not in gate.log()
