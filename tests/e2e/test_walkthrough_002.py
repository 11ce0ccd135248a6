"""Walkthrough 002: tokens that the oauth2 plugin issues, accepted by openid-connect; httpie, on the ports the page says."""

import json
import pathlib
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORTS = {"http": 8000, "https": 8443, "admin": 8001}
OIDC = "5f35b796-ced6-4c00-9b2a-90eef745f4f9"
OAUTH2 = "7cdeaa2d-5faf-416d-8df5-533d1e4cd2c4"


def type_in(command):
    """What the page says to type; without a terminal httpie would read a body from its input."""
    tool, *rest = command.split()
    done = subprocess.run([tool, "--ignore-stdin", "--check-status", *rest], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def refused(command):
    tool, *rest = command.split()
    return subprocess.run([tool, "--ignore-stdin", "--check-status", *rest], capture_output=True, text=True).returncode == 4


@pytest.fixture
def ports_of_the_page():
    """Waits for the ports: another run of this test may have them."""
    deadline = time.monotonic() + 120
    while True:
        try:
            for port in PORTS.values():
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            return PORTS
        except OSError as taken:
            assert time.monotonic() < deadline, f"the ports of the walkthrough stay taken: {taken}"
            time.sleep(0.5)


def walk(service):
    # What the page takes for granted: a service with the openid-connect plugin, here from walkthrough 000.
    type_in(f"http -f put :8001/services/anything url=http://127.0.0.1:{service}/anything")
    type_in("http -f put :8001/services/anything/routes/anything paths=/")
    type_in(
        f"http -f put :8001/plugins/{OIDC} name=openid-connect service.name=anything config.issuer=http://127.0.0.1:9/"
        " config.auth_methods=bearer"
    )

    type_in("http -f put :8001/consumers/jane")
    made = json.loads(type_in("http -f put :8001/consumers/jane/oauth2/client name=demo client_secret=secret hash_secret=true"))
    assert made["client_id"] == "client" and made["client_secret"].startswith("$pbkdf2-sha512$")
    type_in("http -f put :8001/routes/auth paths=/auth")
    type_in(
        f"http -f put :8001/plugins/{OAUTH2} name=oauth2 route.name=auth"
        " config.global_credentials=true config.enable_client_credentials=true"
    )
    issued = json.loads(
        type_in(
            "https -f --verify no post :8443/auth/oauth2/token"
            " client_id=client client_secret=secret grant_type=client_credentials"
        )
    )
    token = issued.pop("access_token")
    assert issued == {"expires_in": 7200, "token_type": "bearer"} and len(token) == 32
    changed = json.loads(
        type_in(
            f"http -f patch :8001/plugins/{OIDC} config.auth_methods=kong_oauth2 config.bearer_token_param_type=header"
        )
    )
    assert changed["config"]["auth_methods"] == ["kong_oauth2"]

    done = subprocess.run(
        ["http", "--ignore-stdin", "--check-status", "-v", ":8000", f"Authorization:Bearer {token}"],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout[done.stdout.rindex("\n{"):])
    assert seen["headers"]["X-Consumer-Username"] == "jane"
    jane = json.loads(type_in("http :8001/consumers/jane"))
    assert seen["headers"]["X-Consumer-Id"] == jane["id"]
    return token


def unauthorised(token):
    return subprocess.run(
        ["http", "--ignore-stdin", "--check-status", ":8000", f"Authorization:Bearer {token}"], capture_output=True
    ).returncode == 4


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_walkthrough_002(gateway, service, ports_of_the_page, tmp_path, database, request):
    url = f"sqlite:{tmp_path}/store.db" if database == "sqlite" else request.getfixturevalue("postgres").url
    running = gateway(env={"PORTCULLIS_DATABASE": url}, fixed_ports=ports_of_the_page)
    token = walk(service)
    assert refused("http :8000")
    assert unauthorised(token[::-1])
    # The console shows it and can end it.
    listed = json.loads(type_in("http :8001/oauth2_tokens"))["data"]
    assert len(listed) == 1 and listed[0]["access_token"] is None
    type_in(f"http delete :8001/oauth2_tokens/{listed[0]['id']}")
    assert unauthorised(token)
    assert token not in running.log()


def test_the_sample_configuration(gateway, service):
    """conf/walkthrough-002.yml is the same without a database."""
    text = (ROOT / "conf/walkthrough-002.yml").read_text()
    assert "127.0.0.1:9080" in text
    running = gateway(text.replace("127.0.0.1:9080", f"127.0.0.1:{service}"))
    issued = json.loads(
        subprocess.run(
            ["https", "--ignore-stdin", "--check-status", "-f", "--verify", "no", "post",
             f":{running.https}/auth/oauth2/token", "client_id=client", "client_secret=secret",
             "grant_type=client_credentials"],
            check=True, capture_output=True, text=True,
        ).stdout
    )
    answer = running.get("/", token=issued["access_token"])
    assert answer.status == 200, answer
    assert json.loads(answer.body)["headers"]["X-Consumer-Username"] == "jane"
    assert running.get("/", token="not-a-token").status == 401
