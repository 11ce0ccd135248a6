"""decK against the Admin API: ping, validate, sync, an empty second diff, dump, reset. `DECK` names the program, or it is on PATH;
where it is not to be had these tests are skipped."""

import os
import shutil
import subprocess

import pytest

DECK = os.environ.get("DECK") or shutil.which("deck")
pytestmark = pytest.mark.skipif(DECK is None, reason="decK is not installed (DECK names it)")


def state(keys, consumers):
    pem = "\n".join(" " * 6 + line for line in keys.public_pem("RS256").strip().splitlines())
    many = "\n".join(f"- username: c{n}\n  jwt_secrets: [{{key: k{n}, algorithm: HS256, secret: s{n}}}]" for n in range(consumers))
    return f"""
_format_version: "3.0"
_info:
  select_tags: [e2e]
services:
- name: echo
  url: http://127.0.0.1:9/anything
  routes:
  - name: echo
    paths: [/echo]
    plugins:
    - name: jwt
      config: {{claims_to_verify: [exp]}}
consumers:
- username: alice
  jwt_secrets:
  - key: rs
    algorithm: RS256
    secret: dummy
    rsa_public_key: |
{pem}
{many}
"""


def test_sync_and_an_empty_diff(gateway, keys, tmp_path):
    running = gateway(env={"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db"})
    address = ["--kong-addr", running.admin_url().rstrip("/")]

    def deck(*arguments):
        done = subprocess.run([DECK, "gateway", *arguments, *address], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    file = tmp_path / "state.yml"
    file.write_text(state(keys, int(os.environ.get("E2E_DECK_CONSUMERS", "1000"))))
    deck("ping")
    deck("validate", str(file))
    deck("sync", str(file))
    second = deck("diff", str(file), "--non-zero-exit-code")
    assert "Created: 0" in second and "Updated: 0" in second and "Deleted: 0" in second
    dumped = tmp_path / "dumped.yml"
    deck("dump", "-o", str(dumped), "--yes")
    assert "alice" in dumped.read_text()
    deck("reset", "--force")
    assert "alice" not in deck("dump", "-o", "-")
