"""Walkthroughs 000 and 001 with Keycloak, httpie, curl, jq and (where it is to be had) decK: the configurations in conf/, by file and
through the Admin API.

Ports are free ones, unless E2E_WALKTHROUGH_PORTS=1 asks for 8000, 8443 and 8001, as the walkthroughs write them."""

import json
import os
import shutil
import subprocess

import pytest

from conftest import BIN, ROOT

PLUGIN = "5f35b796-ced6-4c00-9b2a-90eef745f4f9"
FIXED = {"http": 8000, "https": 8443, "admin": 8001} if os.environ.get("E2E_WALKTHROUGH_PORTS") else None
DECK = os.environ.get("DECK") or shutil.which("deck")


def sample(name, service):
    """A configuration of conf/, its service moved to the port of the echo service."""
    return (ROOT / "conf" / name).read_text().replace("127.0.0.1:9080", f"127.0.0.1:{service}")


def environment(keycloak):
    return {"DECK_ISSUER": keycloak.issuer, "DECK_CLIENT_ID": keycloak.client, "DECK_CLIENT_SECRET": keycloak.secret}


class Shell:
    """Lines as a user types them; the ports are those of the gateway."""

    def __init__(self, gate):
        self.gate = gate

    def run(self, line, **variables):
        line = line.replace(":8001", f":{self.gate.admin}").replace(":8000", f":{self.gate.http}")
        # httpie reads a body from standard input when that is no terminal, as here.
        line = line.replace("http ", "http --ignore-stdin ", 1) if line.startswith("http ") else line
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
            env={**os.environ, **variables}, cwd=self.gate.folder,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}\n{self.gate.log()[-2000:]}"
        return done.stdout

    def status(self, line, **variables):
        return int(self.run(f"{line} -s -o /dev/null -w '%{{http_code}}'", **variables))


@pytest.fixture
def stored(gateway, service, keycloak, tmp_path):
    """A gateway on a database that holds conf/walkthrough-000.yml."""
    file = tmp_path / "walkthrough-000.yml"
    file.write_text(sample("walkthrough-000.yml", service))
    database = {"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db"}
    subprocess.run([BIN, "config", "import", str(file)], check=True, env={**os.environ, **database, **environment(keycloak)})
    return gateway(env=database, fixed_ports=FIXED)


def check_password_and_bearer(shell):
    """Steps 2 and 3; yields the token."""
    seen = shell.run("http -a john:doe :8000 | jq -r .headers.Authorization").strip()
    scheme, _, token = seen.partition(" ")
    assert scheme == "Bearer" and token.count(".") == 2
    verbose = shell.run('http --verbose :8000 Authorization:"Bearer $TOKEN"', TOKEN=token)
    assert "HTTP/1.1 200 OK" in verbose
    told = json.loads(shell.run('http :8000 Authorization:"Bearer $TOKEN"', TOKEN=token))
    assert told["headers"]["Authorization"] == f"Bearer {token}" and told["method"] == "GET"
    return token


def test_000_by_declarative_file(gateway, service, keycloak):
    gate = gateway(sample("walkthrough-000.yml", service), env=environment(keycloak), fixed_ports=FIXED)
    shell = Shell(gate)
    token = check_password_and_bearer(shell)
    assert shell.status('curl "http://localhost:8000?access_token=$TOKEN"', TOKEN=token) == 401
    assert shell.status("curl http://localhost:8000 -u john:wrong") == 401
    assert shell.status("curl http://localhost:8000") == 401
    assert token not in gate.log() and "doe" not in gate.log()


def test_000_through_the_admin_api(stored, keycloak):
    shell = Shell(stored)
    plugin = json.loads(shell.run(
        f"http -f patch :8001/plugins/{PLUGIN} config.bearer_token_param_type=header config.auth_methods=bearer config.auth_methods=password"
    ))
    assert plugin["config"]["auth_methods"] == ["bearer", "password"]
    assert plugin["config"]["bearer_token_param_type"] == ["header"]
    token = check_password_and_bearer(shell)
    assert token not in stored.log()
    patched = shell.run(
        f'curl -s -i -X PATCH http://localhost:8001/plugins/{PLUGIN} --data "config.bearer_token_param_type=query"'
        ' --data "config.auth_methods=bearer" --data "config.auth_methods=password"'
    )
    assert patched.startswith("HTTP/1.1 200")
    assert json.loads(patched.split("\n\n", 1)[1])["config"]["bearer_token_param_type"] == ["query"]
    assert shell.status('curl "http://localhost:8000?access_token=$TOKEN"', TOKEN=token) == 200
    assert shell.status('curl http://localhost:8000 -H "Authorization: Bearer $TOKEN"', TOKEN=token) == 401
    assert token not in stored.log()


def check_001(gate, keycloak):
    shell = Shell(gate)
    told = json.loads(shell.run("http -a alex:doe :8000/anything"))
    token = told["headers"]["Authorization"].removeprefix("Bearer ")
    assert token.count(".") == 2
    assert shell.status('curl "http://localhost:8000/anything?access_token=$TOKEN"', TOKEN=token) == 200
    assert shell.status('curl "http://localhost:8000/anything?access_token=Bearer%20$TOKEN"', TOKEN=token) == 401
    assert shell.status("curl http://localhost:8000/anything -u alex:wrong") == 401
    assert token not in gate.log()


def test_001_by_declarative_file(gateway, service, keycloak):
    check_001(gateway(sample("walkthrough-001.yml", service), env=environment(keycloak), fixed_ports=FIXED), keycloak)


@pytest.mark.skipif(DECK is None, reason="decK is not installed (DECK names it)")
def test_001_by_deck(gateway, service, keycloak, tmp_path):
    gate = gateway(env={"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db"}, fixed_ports=FIXED)
    file = tmp_path / "kong.yml"
    file.write_text(sample("walkthrough-001.yml", service))

    def deck(*arguments):
        done = subprocess.run([DECK, "gateway", *arguments, "--kong-addr", gate.admin_url().rstrip("/")], capture_output=True,
                              text=True, timeout=120, env={**os.environ, **environment(keycloak)})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    deck("sync", str(file))
    check_001(gate, keycloak)
    assert "Updated: 0" in deck("diff", str(file), "--non-zero-exit-code")
