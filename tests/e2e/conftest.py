"""Starts the gateway as a user does, beside real services, and ends everything it started."""

import contextlib
import glob
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = os.environ.get("PORTCULLIS_BIN", str(ROOT / "target/debug/portcullis"))


GIVEN = set()


def free_port():
    """Below the ports that the system gives to clients: a load test's connection may take one of those meanwhile."""
    while True:
        port = random.randrange(10_000, 32_000)
        if port in GIVEN:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            GIVEN.add(port)
            return port


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __repr__(self):
        return f"<{self.status} {self.body[:200]!r}>"


def fetch(url, headers=None, method="GET", data=None):
    """One request; an error status is an answer, not an exception."""
    request = urllib.request.Request(url, headers=headers or {}, method=method, data=data)
    opener = urllib.request.build_opener(NoRedirect)
    try:
        with opener.open(request, timeout=20) as answer:
            return Answer(answer.status, answer.headers, answer.read().decode())
    except urllib.error.HTTPError as answer:
        return Answer(answer.code, answer.headers, answer.read().decode())


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Gateway:
    """A running gateway with ports of its own."""

    def __init__(self, folder, config=None, env=None, fixed_ports=None, patience=30):
        self.patience = patience
        ports = fixed_ports or {}
        self.http, self.https, self.admin, self.console, self.status = (
            ports.get(name) or free_port() for name in ("http", "https", "admin", "console", "status")
        )
        self.folder, self.log_file = folder, folder / "gateway.log"
        self.env = dict(
            os.environ,
            PORTCULLIS_PREFIX=str(folder),
            PORTCULLIS_PROXY_LISTEN=f"127.0.0.1:{self.http}, 127.0.0.1:{self.https} http2 ssl",
            PORTCULLIS_ADMIN_LISTEN=f"127.0.0.1:{self.admin}",
            PORTCULLIS_ADMIN_GUI_LISTEN=f"127.0.0.1:{self.console}",
            PORTCULLIS_STATUS_LISTEN=f"127.0.0.1:{self.status}",
        )
        if config is not None:
            self.config = folder / "kong.yml"
            self.config.write_text(config)
            self.env.update(PORTCULLIS_DATABASE="off", PORTCULLIS_DECLARATIVE_CONFIG=str(self.config))
        self.env.update(env or {})
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [BIN, "run"], env=self.env, cwd=self.folder, stdout=self.log_file.open("ab"), stderr=subprocess.STDOUT
        )
        deadline = time.time() + self.patience
        while time.time() < deadline:
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(OSError):
                if fetch(f"http://127.0.0.1:{self.status}/status/ready").status == 200:
                    return self
            time.sleep(0.05)
        raise AssertionError("the gateway did not become ready\n" + self.log())

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def url(self, path="/"):
        return f"http://127.0.0.1:{self.http}{path}"

    def get(self, path, token=None, headers=None, **more):
        headers = dict(headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return fetch(self.url(path), headers, **more)

    def admin_url(self, path="/"):
        return f"http://127.0.0.1:{self.admin}{path}"


@pytest.fixture
def gateway(tmp_path):
    """A factory: gateway(config) starts one; all are stopped at the end."""
    started = []

    def start(config=None, **more):
        folder = tmp_path / f"gateway{len(started)}"
        folder.mkdir()
        started.append(Gateway(folder, config, **more))
        return started[-1].start()

    yield start
    for one in started:
        one.stop()


@pytest.fixture(scope="session")
def service():
    """A FastAPI service: /healthy, and everything else echoes the request as JSON."""
    import fastapi
    import uvicorn

    app = fastapi.FastAPI()

    @app.get("/healthy")
    def healthy():
        return {"status": "healthy"}

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    async def anything(request: fastapi.Request):
        return {
            "method": request.method,
            "path": request.url.path,
            "query": str(request.url.query),
            "headers": {"-".join(w.capitalize() for w in k.split("-")): v for k, v in request.headers.items()},
            "body": (await request.body()).decode("utf8", "replace"),
        }

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield port
    server.should_exit = True
    thread.join(5)


@pytest.fixture(scope="session")
def chromium():
    """A real browser, for the console."""
    from browser import Browser

    running = Browser()
    yield running
    running.close()


@pytest.fixture
def console(gateway, chromium):
    """A factory: console(config) opens the console of a new gateway; nothing may have gone wrong in the page at the end."""
    opened = []

    def start(*arguments, context=None, **more):
        opened.append(chromium.console(gateway(*arguments, **more), **(context or {})))
        return opened[-1]

    yield start
    for one in opened:
        one.context.close()
        assert one.faults == []
        assert {request.url.split("/")[2] for request in one.asked} <= {f"127.0.0.1:{one.gate.console}"}, "another host was asked"


@pytest.fixture(scope="session")
def keys():
    """Private keys of every kind, and their public halves in PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    made = {
        "RSA": rsa.generate_private_key(65537, 2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "ES384": ec.generate_private_key(ec.SECP384R1()),
        "ES512": ec.generate_private_key(ec.SECP521R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }

    class Keys:
        @staticmethod
        def of(algorithm):
            return made["RSA" if algorithm[:2] in ("RS", "PS") else algorithm]

        def private_pem(self, algorithm):
            return self.of(algorithm).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode()

        def public_pem(self, algorithm):
            return self.of(algorithm).public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ).decode()

    return Keys()


@pytest.fixture(scope="session")
def keycloak(tmp_path_factory):
    """A running Keycloak with the realm of tests/e2e/keycloak/realm.json."""
    from providers import Keycloak

    server = Keycloak(tmp_path_factory.mktemp("keycloak"))
    yield server.start()
    server.stop()


@pytest.fixture(scope="session")
def oidc_provider(tmp_path_factory):
    """A running oidc-provider (npm)."""
    from providers import OidcProvider

    server = OidcProvider(tmp_path_factory.mktemp("oidc-provider"))
    yield server.start()
    server.stop()


class Postgres:
    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        found = shutil.which("initdb") or max(glob.glob("/usr/lib/postgresql/*/bin/initdb"), default=None)
        assert found, "PostgreSQL's initdb is not installed"
        self.tools = pathlib.Path(found).parent
        # PostgreSQL does not run as root.
        self.user = ["runuser", "-u", "nobody", "--"] if os.getuid() == 0 else []
        if self.user:
            os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
            for parent in folder.parents:
                with contextlib.suppress(OSError):
                    parent.chmod(parent.stat().st_mode | 0o011)
        self.run("initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust")
        self.start()
        self.url = self.url_at(self.port)

    @staticmethod
    def url_at(port):
        return f"postgres://postgres@127.0.0.1:{port}/postgres"

    def run(self, *command):
        command = [str(self.tools / command[0]), *command[1:]]
        subprocess.run([*self.user, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")

    def start(self):
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-o", options, "-l", str(self.folder / "log"), "-w", "start")

    def stop(self):
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")


@pytest.fixture
def postgres(tmp_path_factory):
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    with contextlib.suppress(subprocess.CalledProcessError):
        server.stop()
