"""The Admin API over a database, with the clients people use: curl, httpie, several gateways on one PostgreSQL, kill -9."""

import contextlib
import http.client
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import threading
import time

import jwt
import pytest

from conftest import Postgres, fetch
from wire import Wire


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


def honours(gateway, signed):
    """A token, and not everybody: the route is there before its plugin is."""
    return gateway.get("/echo").status == 401 and gateway.get("/echo", token=signed).status == 200


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


def lose_nothing_by_a_kill(gateway, url):
    """1,000 writes from four clients; the gateway is killed in their midst. What it acknowledged is there afterwards."""
    env = {"PORTCULLIS_DATABASE": url}
    first = gateway(env=env)
    acknowledged, stop = [], threading.Event()

    def write(worker):
        for n in range(1000 // 4):
            if stop.is_set():
                return
            with contextlib.suppress(OSError, http.client.HTTPException):
                if ask(first, "PUT", f"/consumers/w{worker}-{n}", {})[0] == 200:
                    acknowledged.append(f"w{worker}-{n}")

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 500:
        time.sleep(0.002)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    stop.set()
    for thread in threads:
        thread.join()
    assert len(acknowledged) < 1000, "it was killed too late to prove anything"
    second = gateway(env=env)
    there, path = set(), "/consumers?size=1000"
    while path:
        status, page = ask(second, "GET", path)
        assert status == 200
        there.update(consumer["username"] for consumer in page["data"])
        path = page["next"]
    print(f"{len(acknowledged)} acknowledged, {len(there)} there")
    assert set(acknowledged) <= there
    assert "error" not in second.log().lower()


def test_no_acknowledged_write_is_lost_by_a_kill(gateway, tmp_path):
    lose_nothing_by_a_kill(gateway, f"sqlite:{tmp_path}/store.db")
    with contextlib.closing(sqlite3.connect(f"file:{tmp_path}/store.db?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []


def test_no_acknowledged_write_is_lost_by_a_kill_with_postgres(gateway, postgres):
    lose_nothing_by_a_kill(gateway, postgres.url)


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


class Load:
    """Clients that ask without a pause, each on a kept connection; what was not answered 200 is lost."""

    def __init__(self, gateway, path, token, clients=4):
        self.lost, self.answered, self.longest, self.stop = [], 0, 0.0, threading.Event()
        self.target = (gateway.http, path, {"Authorization": f"Bearer {token}"})
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        port, path, headers = self.target
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        while not self.stop.is_set():
            start = time.monotonic()
            try:
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.lost.append(answer.status)
            except (OSError, http.client.HTTPException) as fault:
                self.lost.append(repr(fault))
                connection.close()
            self.answered += 1
            self.longest = max(self.longest, time.monotonic() - start)
            time.sleep(0.005)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def test_a_gateway_that_is_cut_off_serves_and_catches_up(gateway, postgres, service):
    wire = Wire(postgres.port)
    writing = gateway(env={"PORTCULLIS_DATABASE": postgres.url})
    cut_off = gateway(env={"PORTCULLIS_DATABASE": Postgres.url_at(wire.port)})
    protected_service(writing, service)
    secret = "0123456789abcdef0123456789abcdef"

    def credential(key):
        assert ask(writing, "PUT", f"/consumers/alice/jwt/{key}", {"secret": secret})[0] == 200
        return token(key, secret)

    kept, ending = credential("kept"), credential("ending")
    until(lambda: honours(cut_off, ending), 5)
    load = Load(cut_off, "/echo", kept)
    ready = lambda: fetch(f"http://127.0.0.1:{cut_off.status}/status/ready")
    seconds = float(os.environ.get("E2E_OUTAGE_SECONDS", "10"))
    wire.cut()
    start = time.monotonic()
    until(lambda: ready().status == 503, 10)
    noticed = time.monotonic() - start
    assert json.loads(ready().body)["message"] == "failed to connect to database"
    assert "kong_datastore_reachable 0" in fetch(f"http://127.0.0.1:{cut_off.status}/metrics").body
    late = credential("late")
    assert ask(writing, "DELETE", "/consumers/alice/jwt/ending")[0] == 204
    time.sleep(max(0.0, start + seconds - time.monotonic()))
    assert cut_off.get("/echo", token=late).status == 401
    wire.mend()
    caught_up = until(lambda: cut_off.get("/echo", token=late).status == 200 and cut_off.get("/echo", token=ending).status == 401, 20)
    until(lambda: ready().status == 200, 10)
    load.end()
    wire.close()
    print(f"cut off for {seconds:g} s, noticed after {noticed:.1f} s, caught up {caught_up:.2f} s after; "
          f"{load.answered} requests, {len(load.lost)} lost, longest {load.longest * 1000:.0f} ms")
    assert load.lost == [] and load.answered > 100


def test_the_database_goes_and_comes_back(gateway, postgres, service):
    gateways = [gateway(env={"PORTCULLIS_DATABASE": postgres.url}) for _ in range(2)]
    protected_service(gateways[0], service)
    secret = "0123456789abcdef0123456789abcdef"
    assert ask(gateways[0], "PUT", "/consumers/alice/jwt/kept", {"secret": secret})[0] == 200
    kept = token("kept", secret)
    until(lambda: honours(gateways[1], kept), 5)
    load = Load(gateways[1], "/echo", kept)
    postgres.stop()
    ready = lambda: fetch(f"http://127.0.0.1:{gateways[1].status}/status/ready")
    until(lambda: ready().status == 503, 10)
    assert ask(gateways[0], "PUT", "/consumers/late", {})[0] == 500
    assert ask(gateways[0], "GET", "/consumers")[0] == 500
    readyz = fetch(f"http://127.0.0.1:{gateways[1].status}/readyz")
    assert (readyz.status, readyz.body) == (200, "ok (the database cannot be reached)\n")
    time.sleep(3)
    postgres.start()
    until(lambda: ask(gateways[0], "PUT", "/consumers/alice/jwt/after", {"secret": secret})[0] == 200, 20)
    until(lambda: gateways[1].get("/echo", token=token("after", secret)).status == 200, 10)
    until(lambda: ready().status == 200, 10)
    load.end()
    assert load.lost == [], load.lost[:5]
