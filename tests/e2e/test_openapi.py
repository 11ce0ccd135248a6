"""schemathesis against the OpenAPI document that the Admin API serves: no fault of the server, no answer that the document does
not declare."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from conftest import fetch

EXAMPLES = os.environ.get("E2E_OPENAPI_EXAMPLES", "3")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"


def kongs_own_fault(failure):
    """Kong answers 500 to JSON that is no table, and so does Portcullis (docs/differences.md)."""
    if re.findall(r"^- (.*)$", failure, re.M) != ["ST101 Server error"] or '{"message":"An unexpected error occurred"}' not in failure:
        return False
    command = shlex.split(re.search(r"^    (curl .*?)\n\n", failure, re.M | re.S)[1])
    body = json.loads(command[command.index("-d") + 1])
    return not isinstance(body, (dict, list))


def seed(admin):
    """Something of each kind, so that paths lead somewhere; the values for path parameters."""

    def put(path, body):
        answer = fetch(f"{admin}{path}", {"Content-Type": "application/json"}, "PUT", json.dumps(body).encode())
        assert answer.status == 200, answer
        return json.loads(answer.body)

    put("services/svc", {"url": "http://127.0.0.1:9", "tags": ["seed"]})
    put("routes/rt", {"paths": ["/x"], "service": {"name": "svc"}, "tags": ["seed"]})
    put("upstreams/up", {})
    target = put("upstreams/up/targets/127.0.0.1:9", {})
    put("consumers/alice", {"custom_id": "a-1", "tags": ["seed"]})
    put("consumers/alice/jwt/key", {"tags": ["seed"]})
    put("consumers/alice/key-auth/key", {"ttl": 3600})
    put("consumers/alice/oauth2/client", {"name": "app", "redirect_uris": ["https://a.test/"]})
    plugin = put("plugins/7cdeaa2d-5faf-416d-8df5-533d1e4cd2c4", {"name": "jwt", "instance_name": "in"})
    return {
        "services": "svc", "routes": "rt", "upstreams": "up", "targets": target["id"], "consumers": "alice", "jwt_secrets": "key",
        "keyauth_credentials": "key", "oauth2_credentials": "client", "plugins": plugin["id"], "tags": "seed", "name": "jwt",
        "entity": "consumers", "log_level": "notice", "address": "127.0.0.1:9",
    }


@pytest.mark.parametrize("real", [False, True], ids=["made-up", "real"])
def test_the_document_is_kept(gateway, tmp_path, real):
    """With made-up names in paths, and with those of entities that are there."""
    running = gateway(env={"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db"})
    config = tmp_path / "schemathesis.toml"
    values = seed(running.admin_url()) if real else {}
    config.write_text("[parameters]\n" + "".join(f'"path.{name}" = "{value}"\n' for name, value in values.items()))
    ran = subprocess.run(
        [pathlib.Path(sys.executable).with_name("schemathesis"), "--config-file", config, "run", running.admin_url("/openapi.json"), "--checks", CHECKS,
         "--phases", "coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", "1", "--continue-on-failure", "--no-color"],
        cwd=tmp_path, capture_output=True, text=True, timeout=1200,
    )
    failures = re.split(r"^_{3,} .* _{3,}$", ran.stdout.split("= FAILURES =", 1)[-1].split("= SUMMARY =", 1)[0], flags=re.M)[1:]
    faults = [failure for failure in failures if not kongs_own_fault(failure)]
    assert not faults, f"{len(faults)} of {len(failures)} failures:\n" + "\n".join(faults[:10])
    # A run that did not take place has no failures either.
    assert failures and f"{len(failures)} failures" in ran.stdout.splitlines()[-1], ran.stdout[-3000:] + ran.stderr
    assert running.process.poll() is None
    assert "panicked" not in running.log()
    print(ran.stdout.splitlines()[-1])


def test_json_that_is_no_table(gateway, tmp_path):
    """The 500 that Kong's recorded answers demand is declared, and is all that such a body does."""
    running = gateway(env={"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db"})
    document = json.loads(fetch(running.admin_url("/openapi.json")).body)
    for body in (b"null", b'"x"', b"1", b"true"):
        answer = fetch(running.admin_url("/consumers"), {"Content-Type": "application/json"}, "POST", body)
        assert (answer.status, json.loads(answer.body)) == (500, {"message": "An unexpected error occurred"})
    assert "500" in document["paths"]["/consumers"]["post"]["responses"]
    assert json.loads(fetch(running.admin_url("/consumers")).body)["data"] == []


@pytest.mark.parametrize("path", ["/consumers/%ff", "/tags/%ff", "/services/%00", "/consumers/a%2Fb/jwt/%E2%80%A8", "//", "/%2e%2e/consumers"])
def test_paths_of_odd_bytes(gateway, tmp_path, path):
    running = gateway(env={"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db"})
    assert fetch(running.admin_url(path)).status in (200, 400, 404)
