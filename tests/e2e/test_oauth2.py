"""The oauth2 plugin on every store: memory, file, SQLite, PostgreSQL. Client libraries, races for a code, kill -9, two gateways."""

import asyncio
import concurrent.futures
import json
import os
import pathlib
import random
import re
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.parse

import pytest

from conftest import BIN, fetch

HERE = pathlib.Path(__file__).resolve().parent
PROVISION_KEY = "provision-key-of-the-tests"
STORES = ["memory", "file", "sqlite", "postgres"]
LASTING = ["file", "sqlite", "postgres"]
CALLBACK = "https://app.test/callback"


def configuration(service):
    return f"""
_format_version: "3.0"
services:
- name: echo
  url: http://127.0.0.1:{service}/anything
  routes:
  - name: api
    paths: [/api]
    plugins:
    - name: oauth2
      config:
        scopes: [email, phone]
        provision_key: {PROVISION_KEY}
        enable_authorization_code: true
        enable_client_credentials: true
        enable_password_grant: true
        accept_http_if_already_terminated: true
consumers:
- username: jane
  oauth2_credentials:
  - name: app
    client_id: app
    client_secret: app-secret
    redirect_uris: ["{CALLBACK}"]
  - name: other
    client_id: other
    client_secret: other-secret
    redirect_uris: ["{CALLBACK}"]
"""


@pytest.fixture
def start(gateway, service, tmp_path, request):
    """start(store) → a gateway with that configuration; start(store, "again") a second one on the same database."""

    def begin(store, again=False):
        config = configuration(service)
        env = {"PORTCULLIS_TRUSTED_IPS": "127.0.0.0/8", "PORTCULLIS_LOG_LEVEL": "info"}
        if store in ("memory", "file"):
            if store == "memory":
                env["PORTCULLIS_OAUTH2_TOKEN_FILE"] = "off"
            return gateway(config, env=env)
        url = f"sqlite:{tmp_path}/store.db" if store == "sqlite" else request.getfixturevalue("postgres").url
        env["PORTCULLIS_DATABASE"] = url
        if not again:
            file = tmp_path / "imported.yml"
            file.write_text(config)
            subprocess.run([BIN, "config", "import", str(file)], env=dict(os.environ, **env), check=True, capture_output=True)
        return gateway(env=env)

    return begin


def post(gateway, endpoint, form, headers=None):
    data = urllib.parse.urlencode(form).encode()
    headers = {"X-Forwarded-Proto": "https", "Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    return fetch(gateway.url(f"/api/oauth2/{endpoint}"), headers, method="POST", data=data)


def authorize(gateway, **more):
    form = {"client_id": "app", "response_type": "code", "scope": "email", "provision_key": PROVISION_KEY,
            "authenticated_userid": "user-7", **more}
    answer = post(gateway, "authorize", form)
    assert answer.status == 200, answer
    location = json.loads(answer.body)["redirect_uri"]
    return urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)["code"][0]


def issue(gateway, **more):
    form = {"grant_type": "client_credentials", "client_id": "app", "client_secret": "app-secret", **more}
    answer = post(gateway, "token", form)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def admin(gateway, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {} if body is None else {"Content-Type": "application/json"}
    answer = fetch(gateway.admin_url(path), headers, method=method, data=data)
    return answer.status, json.loads(answer.body) if answer.body else None


def live_tokens(gateway):
    found, path = [], "/oauth2_tokens?size=1000"
    while path:
        status, page = admin(gateway, "GET", path)
        assert status == 200, page
        found += page["data"]
        path = page["next"]
    return found


def works(gateway, token):
    return gateway.get("/api", token=token).status == 200


# --- client libraries


@pytest.mark.parametrize("store", ["file", "postgres"])
def test_authlib(start, store):
    import warnings

    import requests
    from authlib.integrations.requests_client import OAuth2Session

    running = start(store)
    base = f"https://localhost:{running.https}/api/oauth2"
    warnings.filterwarnings("ignore", module="urllib3")
    for method in ("client_secret_post", "client_secret_basic"):
        session = OAuth2Session(
            "app", "app-secret", scope="email", redirect_uri=CALLBACK, token_endpoint_auth_method=method,
            code_challenge_method="S256",
        )
        session.verify, session.trust_env = False, False
        own = session.fetch_token(f"{base}/token", grant_type="client_credentials")
        assert own["token_type"] == "bearer" and "refresh_token" not in own and works(running, own["access_token"])

        verifier = "v" * 20 + "0123456789-._~ABCDEFGHIJKLMNOP"
        url, state = session.create_authorization_url(f"{base}/authorize", code_verifier=verifier)
        form = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
        form.update(provision_key=PROVISION_KEY, authenticated_userid="user-7")
        location = requests.post(f"{base}/authorize", data=form, verify=False).json()["redirect_uri"]
        granted = session.fetch_token(
            f"{base}/token", authorization_response=location, code_verifier=verifier, state=state
        )
        seen = json.loads(running.get("/api", token=granted["access_token"]).body)["headers"]
        assert seen["X-Authenticated-Userid"] == "user-7" and seen["X-Authenticated-Scope"] == "email"
        assert seen["X-Consumer-Username"] == "jane" and seen["X-Credential-Identifier"] == "app"

        refreshed = session.refresh_token(f"{base}/token", refresh_token=granted["refresh_token"])
        assert works(running, refreshed["access_token"]) and not works(running, granted["access_token"])
        assert refreshed["refresh_token"] != granted["refresh_token"]


@pytest.mark.parametrize("store", ["file", "sqlite"])
def test_openid_client(start, store):
    running = start(store)
    folder = pathlib.Path(os.environ["E2E_NODE_CLIENTS"])
    script = folder / "oauth2.mjs"
    script.write_text((HERE / "clients/oauth2.mjs").read_text())
    done = subprocess.run(
        ["node", str(script), f"https://localhost:{running.https}/api", "app", "app-secret", PROVISION_KEY],
        env=dict(os.environ, NODE_TLS_REJECT_UNAUTHORIZED="0", NODE_NO_WARNINGS="1"), capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for got in json.loads(done.stdout):
        assert works(running, got["own"]["access_token"]) and works(running, got["refreshed"]["access_token"])
        assert got["granted"]["refresh_token"] and not works(running, got["granted"]["access_token"])
        assert got["replay"] == "invalid_request" and got["again"] == "invalid_request"


# --- races


async def at_once(requests):
    """Sends every request but its last byte on a connection of its own, then all last bytes; the statuses."""

    async def connect(number, port, head):
        # Loopback has many addresses, and failures are budgeted by address.
        source = (f"127.0.1.{1 + number // 40}", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=source)
        writer.write(head[:-1])
        await writer.drain()
        return reader, writer

    opened = []
    for first in range(0, len(requests), 100):
        batch = enumerate(requests[first : first + 100], first)
        opened += await asyncio.gather(*(connect(n, port, head) for n, (port, head) in batch))
    for (_, writer), (_, head) in zip(opened, requests):
        writer.write(head[-1:])

    async def answer(reader, writer):
        line = await asyncio.wait_for(reader.readline(), 60)
        rest = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        return int(line.split()[1]), rest

    return await asyncio.gather(*(answer(*one) for one in opened))


def redemption(code):
    body = urllib.parse.urlencode(
        {"grant_type": "authorization_code", "client_id": "app", "client_secret": "app-secret", "code": code}
    ).encode()
    head = (
        "POST /api/oauth2/token HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    return head + body


def check_race(gateways, code):
    request = redemption(code)
    requests = [(gateways[n % len(gateways)].http, request) for n in range(1000)]
    # In a thread of its own: the browser tests leave an event loop running in this one.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        answers = thread.submit(lambda: asyncio.run(at_once(requests))).result()
    statuses = [status for status, _ in answers]
    assert statuses.count(200) == 1, {status: statuses.count(status) for status in set(statuses)}
    assert set(statuses) == {200, 400}, "every other one is told that the code is no good"
    assert len(live_tokens(gateways[0])) == 1
    body = next(rest for status, rest in answers if status == 200)
    token = re.search(rb'"access_token":"([^"]+)"', body).group(1).decode()
    for one in gateways:
        assert works(one, token)


@pytest.mark.parametrize("store", STORES)
def test_a_thousand_redemptions_of_one_code_give_one_token(start, store):
    running = start(store)
    check_race([running], authorize(running))


def test_two_gateways_redeem_one_code_a_thousand_times(start):
    one, two = start("postgres"), start("postgres", again=True)
    check_race([one, two], authorize(two))


# --- what survives


def stored_bytes(running, store, tmp_path):
    if store == "file":
        return (running.folder / "oauth2-tokens.jsonl").read_bytes()
    if store == "sqlite":
        connection = sqlite3.connect(f"file:{tmp_path}/store.db?mode=ro", uri=True)
        return "\n".join(connection.iterdump()).encode()
    return None


@pytest.mark.parametrize("store", LASTING)
def test_no_acknowledged_token_is_lost_by_a_kill(start, store, tmp_path):
    running = start(store)
    acknowledged, stop, lock = [], threading.Event(), threading.Lock()

    def worker():
        while not stop.is_set():
            try:
                token = issue(running)["access_token"]
            except (OSError, AssertionError):
                time.sleep(0.02)
                continue
            with lock:
                acknowledged.append(token)

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    kills, patience = 0, time.monotonic() + 300
    while len(acknowledged) < 1000:
        assert time.monotonic() < patience, f"{len(acknowledged)} issued, {kills} kills"
        goal = len(acknowledged) + random.randint(50, 300)
        while len(acknowledged) < min(goal, 1000) and time.monotonic() < patience:
            time.sleep(random.random() * 0.02)
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
        kills += 1
        running.start()
    stop.set()
    for thread in threads:
        thread.join()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        good = list(pool.map(lambda token: works(running, token), acknowledged))
    assert all(good), f"{good.count(False)} of {len(good)} lost in {kills} kills"
    assert not works(running, "never-issued")
    assert kills >= 3
    kept = stored_bytes(running, store, tmp_path)
    if kept is not None:
        assert b"app" in kept or store == "file"
        assert not any(token.encode() in kept for token in acknowledged), "tokens stand in the store as they are"


def until(condition, seconds):
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, f"not within {seconds} s"
        time.sleep(0.002)
    return time.monotonic() - begin


def test_two_gateways_on_one_postgres(start):
    one, two = start("postgres"), start("postgres", again=True)
    for _ in range(50):
        token = issue(one)["access_token"]
        assert works(two, token), "what one issues the other takes at once"
    code = authorize(one)
    form = {"grant_type": "authorization_code", "client_id": "app", "client_secret": "app-secret", "code": code}
    granted = json.loads(post(two, "token", form).body)
    assert works(one, granted["access_token"])
    refresh = {"grant_type": "refresh_token", "client_id": "app", "client_secret": "app-secret"}
    refreshed = json.loads(post(one, "token", {**refresh, "refresh_token": granted["refresh_token"]}).body)
    assert works(two, refreshed["access_token"]) and not works(one, granted["access_token"])
    took = [until(lambda: not works(two, granted["access_token"]), 2)]
    for _ in range(20):
        token = issue(one)["access_token"]
        assert works(two, token)
        status, found = admin(one, "GET", f"/oauth2_tokens/{token}")
        assert status == 200 and admin(one, "DELETE", f"/oauth2_tokens/{found['id']}")[0] == 204
        assert not works(one, token), "ended here when the answer is there"
        took.append(until(lambda: not works(two, token), 2))
    print(f"ended at the other: median {sorted(took)[len(took) // 2] * 1000:.1f} ms, worst {max(took) * 1000:.1f} ms")
    # A credential that goes takes its tokens with it.
    token = issue(one)["access_token"]
    assert works(two, token)
    assert admin(one, "DELETE", "/consumers/jane/oauth2/app")[0] == 204
    assert not works(one, token)
    until(lambda: not works(two, token), 2)
    assert all(found["credential"] for found in live_tokens(one)) and admin(two, "GET", f"/oauth2_tokens/{token}")[0] == 404


# --- administration


@pytest.mark.parametrize("store", STORES)
def test_tokens_are_administered(start, store):
    running = start(store)
    assert admin(running, "GET", "/oauth2_tokens") == (200, {"data": [], "next": None})
    token = issue(running, scope="email")["access_token"]
    [shown] = live_tokens(running)
    assert shown["access_token"] is None and shown["scope"] == "email" and shown["expires_in"] == 7200
    status, named = admin(running, "GET", f"/oauth2_tokens/{token}")
    assert status == 200 and named["access_token"] == token and named["id"] == shown["id"]
    credential = shown["credential"]["id"]
    [listed] = admin(running, "GET", f"/oauth2/{credential}/oauth2_tokens")[1]["data"]
    # What is left of its life is counted anew by each answer: a second may have passed between the two.
    assert 0 <= shown.pop("ttl") - listed.pop("ttl") <= 5 and listed == shown
    status, patched = admin(running, "PATCH", f"/oauth2_tokens/{shown['id']}", {"access_token": "chosen-by-hand"})
    assert status == 200 and patched["access_token"] == "chosen-by-hand"
    assert works(running, "chosen-by-hand") and not works(running, token)
    assert admin(running, "PATCH", f"/oauth2_tokens/{shown['id']}", {"scope": "phone"})[1]["scope"] == "phone"
    assert works(running, "chosen-by-hand")
    service = shown["service"]["id"]
    made = {"credential": {"id": credential}, "service": {"id": service}, "expires_in": 60}
    status, created = admin(running, "POST", "/oauth2_tokens", made)
    assert status == 201 and works(running, created["access_token"])
    assert admin(running, "POST", "/oauth2_tokens", {**made, "access_token": "chosen-by-hand"})[0] == 409
    missing = {**made, "credential": {"id": "00000000-0000-4000-8000-000000000000"}}
    assert admin(running, "POST", "/oauth2_tokens", missing)[0] == 400
    for n in range(5):
        assert admin(running, "POST", "/oauth2_tokens", {**made, "access_token": f"t{n}"})[0] == 201
    pages, path = [], "/oauth2_tokens?size=2"
    while path:
        page = admin(running, "GET", path)[1]
        pages.append(len(page["data"]))
        path = page["next"]
    assert sum(pages) == 7 and max(pages) == 2
    assert admin(running, "DELETE", f"/oauth2_tokens/{created['id']}")[0] == 204
    assert not works(running, created["access_token"]) and works(running, "t0")
    assert admin(running, "DELETE", f"/oauth2_tokens/{created['id']}")[0] == 204
    metrics = fetch(f"http://127.0.0.1:{running.status}/metrics").body
    assert 'portcullis_oauth2_issued_total{grant="client_credentials"} 1' in metrics
    assert re.search(r"^portcullis_oauth2_tokens \d", metrics, re.M)
