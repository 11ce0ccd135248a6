"""The Admin API over a database, with the clients people use: curl, httpie, several gateways on one PostgreSQL, kill -9."""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import threading
import time

import jwt
import pytest

from conftest import fetch, free_port


def ask(gateway, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {} if body is None else {"Content-Type": "application/json"}
    answer = fetch(gateway.admin_url(path), headers, method=method, data=data)
    return answer.status, json.loads(answer.body) if answer.body else None


def protected_service(gateway, service):
    assert ask(gateway, "PUT", "/services/echo", {"url": f"http://127.0.0.1:{service}/anything"})[0] == 200
    assert ask(gateway, "PUT", "/services/echo/routes/echo", {"paths": ["/echo"]})[0] == 200
    assert ask(gateway, "POST", "/routes/echo/plugins", {"name": "jwt"})[0] == 201
    assert ask(gateway, "PUT", "/consumers/alice", {})[0] == 200


def token(key, secret):
    return jwt.encode({"iss": key}, secret, algorithm="HS256")


@pytest.fixture
def sqlite(gateway, tmp_path):
    return gateway(env={"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db"})


def test_walkthrough_003_with_curl_and_httpie(sqlite, service, keys):
    admin = sqlite.admin_url()

    def run(*command, data=None):
        return subprocess.run(command, check=True, capture_output=True, text=True, input=data).stdout

    run("curl", "-sf", "-X", "POST", f"{admin}services", "-d", "name=echo", "-d", f"url=http://127.0.0.1:{service}/anything")
    run("curl", "-sf", "-X", "POST", f"{admin}services/echo/routes", "-d", "name=echo", "-d", "paths[]=/echo")
    run("curl", "-sf", "-X", "POST", f"{admin}routes/echo/plugins", "-d", "name=jwt", "-d", "config.cookie_names=session")
    run("http", "--ignore-stdin", "--check-status", "-f", "put", f"{admin}consumers/alice", "custom_id=a-7")
    made = json.loads(run("curl", "-sf", "-X", "POST", f"{admin}consumers/alice/jwt", "-H", "Content-Type: application/x-www-form-urlencoded"))
    assert len(made["key"]) == 32 and made["algorithm"] == "HS256"
    pem = sqlite.folder / "rs256.pem"
    pem.write_text(keys.public_pem("RS256"))
    run("curl", "-sf", "-X", "POST", f"{admin}consumers/alice/jwt", "-F", "algorithm=RS256", "-F", f"rsa_public_key=@{pem}", "-F", "key=rs")
    for signed in (token(made["key"], made["secret"]), jwt.encode({"iss": "rs"}, keys.private_pem("RS256"), algorithm="RS256")):
        answer = sqlite.get("/echo", token=signed)
        assert answer.status == 200, answer
        headers = json.loads(answer.body)["headers"]
        assert headers["X-Consumer-Username"] == "alice" and headers["X-Consumer-Custom-Id"] == "a-7"
        assert sqlite.get("/echo", headers={"Cookie": f"session={signed}"}).status == 200
    assert sqlite.get("/echo").status == 401
    assert fetch(f"{admin}consumers/alice/jwt/{made['key']}", method="DELETE").status == 204
    assert sqlite.get("/echo", token=token(made["key"], made["secret"])).status == 401


def test_walkthrough_000_patches_by_form(sqlite):
    if "openid-connect" not in ask(sqlite, "GET", "/plugins/enabled")[1]["enabled_plugins"]:
        pytest.skip("this build has no openid-connect")
    plugin = "5f35b796-ced6-4c00-9b2a-90eef745f4f9"
    config = {"issuer": "http://127.0.0.1:9/", "client_id": ["kong"], "client_secret": ["s"]}
    status, body = ask(sqlite, "PUT", f"/plugins/{plugin}", {"name": "openid-connect", "config": config})
    assert status == 200, body
    done = subprocess.run(
        ["http", "--ignore-stdin", "-f", "patch", sqlite.admin_url(f"/plugins/{plugin}"), "config.bearer_token_param_type=header",
         "config.auth_methods=bearer", "config.auth_methods=password"], check=True, capture_output=True, text=True)
    config = json.loads(done.stdout)["config"]
    assert config["auth_methods"] == ["bearer", "password"] and config["bearer_token_param_type"] == ["header"]
    done = subprocess.run(
        ["curl", "-sf", "-X", "PATCH", sqlite.admin_url(f"/plugins/{plugin}"), "--data", "config.bearer_token_param_type=query",
         "--data", "config.auth_methods=bearer", "--data", "config.auth_methods=password"], check=True, capture_output=True, text=True)
    config = json.loads(done.stdout)["config"]
    assert config["auth_methods"] == ["bearer", "password"] and config["bearer_token_param_type"] == ["query"]


def test_no_acknowledged_write_is_lost_by_a_kill(gateway, tmp_path):
    env = {"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db"}
    first = gateway(env=env)
    acknowledged, stop = [], threading.Event()

    def write(worker):
        for n in range(1000 // 4):
            if stop.is_set():
                return
            with contextlib.suppress(OSError):
                if ask(first, "PUT", f"/consumers/w{worker}-{n}", {})[0] == 200:
                    acknowledged.append(f"w{worker}-{n}")

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 300:
        time.sleep(0.005)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    stop.set()
    for thread in threads:
        thread.join()
    second = gateway(env=env)
    there, path = set(), "/consumers?size=1000"
    while path:
        status, page = ask(second, "GET", path)
        assert status == 200
        there.update(consumer["username"] for consumer in page["data"])
        path = page["next"]
    assert set(acknowledged) <= there
    assert "error" not in second.log().lower()


def until(condition, seconds):
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if condition():
            return time.monotonic() - start
        time.sleep(0.002)
    raise AssertionError(f"not within {seconds} s")


def test_three_gateways_on_one_postgres(gateway, postgres, service):
    gateways = [gateway(env={"PORTCULLIS_DATABASE": postgres.url}) for _ in range(3)]
    protected_service(gateways[0], service)
    for other in gateways[1:]:
        until(lambda: other.get("/echo").status == 401, 5)
    writes = int(os.environ.get("E2E_CLUSTER_WRITES", "100"))
    honoured, revoked = [], []
    for n in range(writes):
        key = f"key-{n}"
        signed = token(key, "0123456789abcdef0123456789abcdef")
        assert ask(gateways[0], "PUT", f"/consumers/alice/jwt/{key}", {"secret": "0123456789abcdef0123456789abcdef"})[0] == 200
        assert gateways[0].get("/echo", token=signed).status == 200
        honoured += [until(lambda: other.get("/echo", token=signed).status == 200, 5) for other in gateways[1:]]
        assert ask(gateways[0], "DELETE", f"/consumers/alice/jwt/{key}")[0] == 204
        assert gateways[0].get("/echo", token=signed).status == 401
        revoked += [until(lambda: other.get("/echo", token=signed).status == 401, 5) for other in gateways[1:]]
    for name, times in (("honoured", honoured), ("revoked", revoked)):
        p99 = statistics.quantiles(times, n=100)[98]
        print(f"{name} by the others: median {statistics.median(times) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")
        assert p99 < 0.2

    # The database goes; traffic stays, readiness says so, and the gateways catch up by themselves.
    assert ask(gateways[0], "PUT", "/consumers/alice/jwt/kept", {"secret": "0123456789abcdef0123456789abcdef"})[0] == 200
    kept = token("kept", "0123456789abcdef0123456789abcdef")
    until(lambda: gateways[2].get("/echo", token=kept).status == 200, 5)
    postgres.stop()
    lost, end = 0, time.monotonic() + float(os.environ.get("E2E_OUTAGE_SECONDS", "8"))
    while time.monotonic() < end:
        lost += gateways[2].get("/echo", token=kept).status != 200
    assert lost == 0
    ready = fetch(f"http://127.0.0.1:{gateways[2].status}/status/ready")
    assert (ready.status, json.loads(ready.body)["message"]) == (503, "failed to connect to database")
    assert ask(gateways[0], "PUT", "/consumers/late", {})[0] == 500
    postgres.start()
    until(lambda: ask(gateways[0], "PUT", "/consumers/alice/jwt/after", {"secret": "0123456789abcdef0123456789abcdef"})[0] == 200, 20)
    after = token("after", "0123456789abcdef0123456789abcdef")
    until(lambda: gateways[2].get("/echo", token=after).status == 200, 10)
    until(lambda: fetch(f"http://127.0.0.1:{gateways[2].status}/status/ready").status == 200, 10)


def test_the_door_is_shut_beyond_loopback(gateway, tmp_path):
    port = free_port()
    env = {"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db", "PORTCULLIS_ADMIN_LISTEN": f"0.0.0.0:{port}"}
    with pytest.raises(AssertionError, match="admin_token"):
        gateway(env=env)
    gateway(env=dict(env, PORTCULLIS_ADMIN_TOKEN="0123456789abcdef"))
    assert fetch(f"http://127.0.0.1:{port}/consumers").status == 401
    assert fetch(f"http://127.0.0.1:{port}/consumers", {"Kong-Admin-Token": "0123456789abcdef"}).status == 200
