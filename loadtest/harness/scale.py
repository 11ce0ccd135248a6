"""What a large configuration costs to load, to hold and to replace while requests are served."""

import argparse
import hashlib
import json
import pathlib
import random
import shutil
import socket
import statistics
import sys
import threading
import time

import jwt

from . import machine
from .proxies import Gateway, service

WORK = pathlib.Path(__file__).resolve().parents[2] / "target/loadtest"
ROUTES_PER_SERVICE = 10


def secret(number):
    return hashlib.sha256(b"scale %d" % number).hexdigest()


def generate(routes, consumers, service_port, generation, form):
    """A declarative file; `form` is json or yaml (one entity a line, as generators write it)."""
    services = []
    for first in range(0, routes, ROUTES_PER_SERVICE):
        services.append({
            "name": f"service-{first:05d}", "url": f"http://127.0.0.1:{service_port}",
            "routes": [{
                "name": f"route-{n:05d}", "paths": [f"/api/{n:05d}"], "strip_path": False,
                "plugins": [{"name": "jwt", "config": {"claims_to_verify": ["exp"]}}],
            } for n in range(first, min(first + ROUTES_PER_SERVICE, routes))],
        })
    services.append({
        "name": "generation", "url": f"http://127.0.0.1:{service_port}", "routes": [{
            "name": "generation", "paths": ["/generation"],
            "plugins": [{"name": "request-termination", "config": {"status_code": 200, "message": f"generation-{generation}"}}],
        }],
    })
    people = [
        {"username": f"consumer-{n:06d}", "custom_id": f"c{n:06d}",
         "jwt_secrets": [{"key": f"key-{n:06d}", "algorithm": "HS256", "secret": secret(n)}]}
        for n in range(consumers)
    ]
    if form == "json":
        return json.dumps({"_format_version": "3.0", "services": services, "consumers": people})
    # JSON is YAML: an entity of each list on its line.
    lines = ['_format_version: "3.0"']
    for name, entities in [("services", services), ("consumers", people)]:
        lines += [f"{name}:", *(f"- {json.dumps(entity)}" for entity in entities)]
    return "\n".join(lines) + "\n"


class Client(threading.Thread):
    """A light load: a fixed number of requests a second on one kept connection. Times each, from when it was due."""

    def __init__(self, port, requests, per_second):
        super().__init__(daemon=True)
        self.port, self.requests, self.gap = port, requests, 1 / per_second
        self.done, self.times, self.failed = threading.Event(), [], []

    def run(self):
        stream, due = None, time.monotonic()
        while not self.done.is_set():
            due = max(due + self.gap, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))
            start = time.monotonic()
            try:
                stream = stream or socket.create_connection(("127.0.0.1", self.port), 20)
                stream.sendall(random.choice(self.requests))
                answer = b""
                while b"\r\n\r\n" not in answer:
                    part = stream.recv(65536)
                    if not part:
                        raise ConnectionError("closed before the answer")
                    answer += part
                if b" 200 " not in answer[:16]:
                    raise ValueError(answer[:60])
                if b"connection: close" in answer.lower():
                    stream.close()
                    stream = None
            except (OSError, ValueError) as error:
                self.failed.append(repr(error))
                stream = None
            self.times.append((start, time.monotonic() - start))


def load(port, routes, consumers, clients=4, per_second=50):
    """Clients with tokens of many consumers on many routes."""
    pick = random.Random(1)
    requests = []
    for _ in range(500):
        number = pick.randrange(consumers)
        token = jwt.encode({"iss": f"key-{number:06d}", "exp": int(time.time()) + 3600}, secret(number), algorithm="HS256")
        requests.append(
            f"GET /api/{pick.randrange(routes):05d} HTTP/1.1\r\nHost: scale\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
    started = [Client(port, requests, per_second) for _ in range(clients)]
    for client in started:
        client.start()
    return started


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def measure(routes, consumers, reloads, form, folder, patience=180, say=print):
    """Starts a gateway on so large a configuration, loads it lightly, and reloads it; all it takes."""
    shutil.rmtree(folder, ignore_errors=True)
    with service(folder) as upstream:
        text = lambda generation: generate(routes, consumers, upstream.port, generation, form)
        first = text(0)
        start = time.monotonic()
        with Gateway(first, folder, name=f"kong.{form}") as gateway:
            # From the process's start, not from when the file began to be written.
            start = max(start, time.monotonic() - 0.05)
            gateway.ready(patience, step=0.005)
            ready = time.monotonic() - start
            memory = [gateway.memory()]
            say(f"{routes} routes, {consumers} consumers: {len(first) / 2**20:.1f} MiB of {form}")
            say(f"ready after {ready:.2f} s; {memory[0] / 2**20:.0f} MiB resident")

            clients = load(gateway.port, routes, consumers)
            time.sleep(5)
            quiet = [took for client in clients for _, took in client.times]
            took, during = [], []
            for generation in range(1, reloads + 1):
                # Python is done with its own work (making the text) before the clock starts.
                gateway.configure(text(generation))
                time.sleep(1)
                begin, before = time.monotonic(), gateway.reloads()[0]
                gateway.reload()
                gateway.wait_for(lambda: gateway.reloads()[0] > before, f"reload {generation}", patience, 0.01)
                end = time.monotonic()
                took.append(end - begin)
                time.sleep(1)
                times = [spent for client in clients for at, spent in client.times if begin - 0.05 <= at <= end + 0.5]
                during.append(times)
                memory.append(gateway.memory())
                say(f"reload {generation}: {took[-1]:.2f} s, slowest request {max(times) * 1000:.1f} ms, "
                    f"p99 {percentile(times, 0.99) * 1000:.1f} ms, {memory[-1] / 2**20:.0f} MiB")
            for client in clients:
                client.done.set()
            failed = [failure for client in clients for failure in client.failed]

    every = [spent for times in during for spent in times]
    spread = lambda times: {"p50": statistics.median(times) * 1e3, "p99": percentile(times, 0.99) * 1e3, "longest": max(times) * 1e3}
    return {
        "routes": routes, "consumers": consumers, "format": form, "file_bytes": len(first), "ready_s": ready, "memory": memory,
        "reload_s": took, "quiet_ms": spread(quiet), "reload_ms": spread(every), "failed": failed,
    }


def main():
    parser = argparse.ArgumentParser(prog="loadtest/scale")
    parser.add_argument("--routes", type=int, default=1000)
    parser.add_argument("--consumers", type=int, default=100_000)
    parser.add_argument("--reloads", type=int, default=6)
    parser.add_argument("--format", choices=["json", "yaml"], default="json")
    parser.add_argument("--patience", type=float, default=180, help="seconds that a start or a reload may take")
    arguments = parser.parse_args()
    facts = machine.describe()
    say = lambda text: print(text, flush=True)
    for name, value in facts.items():
        say(f"{name}: {value}")
    result = measure(arguments.routes, arguments.consumers, arguments.reloads, arguments.format, WORK / "scale", arguments.patience, say)
    report = WORK / "report"
    report.mkdir(parents=True, exist_ok=True)
    (report / "scale.json").write_text(json.dumps({"machine": facts, **result}, indent=1) + "\n")
    for name in ("quiet_ms", "reload_ms"):
        say(f"requests {'between' if name == 'quiet_ms' else 'during'} reloads: "
            + ", ".join(f"{key} {value:.2f} ms" for key, value in result[name].items()))
    took, failed = result["reload_s"], result["failed"]
    say(f"reload: median {statistics.median(took):.2f} s, slowest {max(took):.2f} s; failed requests: {len(failed)}")
    say(report / "scale.json")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
