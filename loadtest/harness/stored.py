"""The gateway over a database: fills it, starts on it, writes to it."""

import http.client
import json
import os
import shutil
import statistics
import subprocess
import time

import jwt

from .processes import CPUS, free_port, get
from .proxies import GATEWAY, Proxy
from .scale import generate, percentile, secret


class Stored(Proxy):
    """The gateway over a database."""

    def __init__(self, database, folder):
        for name in [name for name in os.environ if name.startswith("PORTCULLIS_")]:
            del os.environ[name]
        port, self.status, self.admin = free_port(), free_port(), free_port()
        self.settings = {
            "PORTCULLIS_PREFIX": str(folder),
            "PORTCULLIS_DATABASE": database,
            "PORTCULLIS_PROXY_LISTEN": f"127.0.0.1:{port}",
            "PORTCULLIS_ADMIN_LISTEN": f"127.0.0.1:{self.admin}",
            "PORTCULLIS_STATUS_LISTEN": f"127.0.0.1:{self.status}",
            "PORTCULLIS_PROXY_ACCESS_LOG": "off",
        }
        super().__init__("portcullis", port, [GATEWAY, "run"], CPUS, folder, self.settings)

    def ready(self, seconds):
        try:
            self.wait_for(lambda: get(f"http://127.0.0.1:{self.status}/status/ready")[0] == 200, self.name, seconds, 0.01)
        except BaseException:
            self.stop()
            raise
        return self


class Admin:
    """One kept connection to the Admin API."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.connection.connect()

    def ask(self, method, path, body=None):
        """Status, body as bytes, and seconds until the last byte was there."""
        text = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        start = time.monotonic()
        self.connection.request(method, path, text, headers)
        answer = self.connection.getresponse()
        data = answer.read()
        return answer.status, data, time.monotonic() - start


def fill(database, file, folder):
    """Imports a declarative file; returns seconds."""
    env = dict(os.environ, PORTCULLIS_DATABASE=database, PORTCULLIS_PREFIX=str(folder))
    start = time.monotonic()
    subprocess.run([GATEWAY, "config", "import", str(file)], env=env, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def write(admin, gateway, consumers, count, pause):
    """Credentials of consumers all over the table: times until the answer; each is used at once."""
    proxy = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    times, refused = [], 0
    for n in range(count):
        name, key = f"consumer-{n * 7919 % consumers:06d}", f"new-{time.monotonic_ns()}"
        status, data, took = admin.ask("PUT", f"/consumers/{name}/jwt/{key}", {"secret": secret(n)})
        assert status == 200, data
        times.append(took)
        token = jwt.encode({"iss": key, "exp": int(time.time()) + 600}, secret(n), algorithm="HS256")
        proxy.request("GET", "/api/00000", headers={"Authorization": f"Bearer {token}"})
        answer = proxy.getresponse()
        answer.read()
        refused += answer.status != 200
        time.sleep(pause)
    return times, refused


def sqlite(consumers, upstream, folder, patience, say):
    """Start from SQLite with so many consumers, a credential each, and what a write to it takes until it is served."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file, database = folder / "kong.json", f"sqlite:{folder}/store.db"
    file.write_text(generate(1, consumers, upstream.port, 0, "json"))
    imported = fill(database, file, folder)
    start = time.monotonic()
    with Stored(database, folder / "gateway") as gateway:
        gateway.ready(patience)
        ready, memory = time.monotonic() - start, gateway.memory()
        times, refused = write(Admin(gateway.admin), gateway, consumers, 300, 0.03)
    shutil.rmtree(folder)
    times = {"p50": statistics.median(times) * 1e3, "p99": percentile(times, 0.99) * 1e3, "longest": max(times) * 1e3, "refused": refused}
    say(f"{consumers} consumers in SQLite: imported in {imported:.1f} s, ready after {ready:.2f} s, {memory / 2**20:.0f} MiB; a credential written is "
        f"answered and served after {times['p50']:.1f} ms (longest {times['longest']:.1f}), {refused} not at once")
    return {"import_s": imported, "sqlite_ready_s": ready, "sqlite_memory": memory, "write_ms": times}
