"""What authentication adds to a request, measured to about half a microsecond.

Runs of seconds differ by more than that from one to the next. So one gateway process has a route of every kind, slices of a few
hundred requests go to them in random order, and each slice is compared with the one of the open route in the same round: what
slows the machine for longer than a round slows both. CPU time is the scheduler's own count, in nanoseconds.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import socket
import statistics

from . import material as stock
from .processes import LOAD, SUBJECT, tree
from .proxies import Gateway

CONNECTIONS, ROUNDS_A_SLICE = 32, 12
LENGTH = re.compile(rb"(?i)content-length: *(\d+)")
CREDENTIAL = "00000000-0000-4000-8000-000000000001"


def provider(algorithm):
    return f"https://{stock.issuer(algorithm)}.example"


def opaque(count):
    return [hashlib.sha256(f"token {number}".encode()).hexdigest()[:32] for number in range(count)]


def configuration(material, service_port, live):
    """The usual routes, one of openid-connect for each algorithm, and one of oauth2 with so many live tokens."""
    config = json.loads(material.kong(service_port))
    service = config["services"][0]
    for algorithm in stock.ALGORITHMS[1:]:
        keys = json.loads(material.jwks(algorithm).read_text())["keys"]
        service["routes"].append({
            "name": f"oidc-{algorithm}", "paths": [f"/oidc/{algorithm}"], "strip_path": False,
            "plugins": [{"name": "openid-connect", "config": {
                "issuer": provider(algorithm), "using_pseudo_issuer": True, "jwks": {"keys": [{**key, "kid": "one"} for key in keys]},
                "auth_methods": ["bearer"], "audience_required": ["api"],
                "upstream_headers_claims": ["sub"], "upstream_headers_names": ["x-user"],
            }}],
        })
    service["routes"].append({
        "name": "opaque", "paths": ["/opaque"], "strip_path": False,
        "plugins": [{"name": "oauth2", "config": {"enable_client_credentials": True, "provision_key": "p"}}],
    })
    config["consumers"].append({"username": "app", "oauth2_credentials": [{
        "id": CREDENTIAL, "name": "app", "client_id": "app", "client_secret": "secret-of-the-app", "redirect_uris": ["https://app.example/"],
    }]})
    config["oauth2_tokens"] = [
        {"credential": {"id": CREDENTIAL}, "service": {"name": "loadtest"}, "access_token": token, "expires_in": 0, "token_type": "bearer"}
        for token in opaque(live)
    ]
    return json.dumps(config)


class Target:
    """A path with its tokens in rotation, over its own kept connections."""

    def __init__(self, name, port, path, tokens, status=200):
        self.name, self.status, self.at, self.cpu = name, status, 0, []
        head = f"GET {path} HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench/1\r\nAccept: */*\r\n"
        self.requests = [
            (head + (f"Authorization: Bearer {token}\r\n" if token else "") + "\r\n").encode() for token in tokens
        ]
        self.sockets = [socket.create_connection(("127.0.0.1", port), 300) for _ in range(CONNECTIONS)]
        for one in self.sockets:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self, rounds):
        for _ in range(rounds):
            for one in self.sockets:
                one.sendall(self.requests[self.at % len(self.requests)])
                self.at += 1
            for one in self.sockets:
                answer = one.recv(65536)
                while True:
                    end = answer.find(b"\r\n\r\n")
                    if end >= 0:
                        length = LENGTH.search(answer, 0, end)
                        if len(answer) >= end + 4 + (int(length[1]) if length else 0):
                            break
                    answer += one.recv(65536)
                if int(answer[9:12]) != self.status:
                    raise RuntimeError(f"{self.name}: {answer[:200]!r} in place of {self.status}")

    def close(self):
        for one in self.sockets:
            one.close()


def nanoseconds(pid):
    """CPU time of a process and its descendants, as the scheduler counts it."""
    total = 0
    for one in tree(pid):
        for task in pathlib.Path(f"/proc/{one}/task").iterdir():
            # A thread may end meanwhile; its slice is one of those that are left out.
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
    return total


def paired(pid, targets, rounds, say):
    """Rows of (name, least, median, added, plus or minus): µs of CPU a request, and what it is over the first target's."""
    for target in targets:
        target.run(max(30, 1 + len(target.requests) // CONNECTIONS))
    for _ in range(rounds):
        for target in random.sample(targets, len(targets)):
            target.run(1)
            before = nanoseconds(pid)
            target.run(ROUNDS_A_SLICE)
            target.cpu.append((nanoseconds(pid) - before) / 1e3 / (ROUNDS_A_SLICE * CONNECTIONS))
    base, rows = targets[0], []
    for target in targets:
        added = sorted(one - other for one, other in zip(target.cpu, base.cpu))
        # A slice that something else broke into says nothing about the gateway.
        middle = added[len(added) // 10:len(added) - len(added) // 10]
        error = 1.96 * statistics.stdev(middle) / len(middle) ** 0.5
        rows.append((target.name, min(target.cpu), statistics.median(target.cpu), statistics.mean(middle), error))
        say("{:28} least {:6.1f}  median {:6.1f}  added {:+6.2f} ± {:.2f} µs".format(*rows[-1]))
    return rows


def added(material, service, folder, rounds, say, live=(1, 10_000, 1_000_000)):
    os.sched_setaffinity(0, set(LOAD))
    rows = []
    for count in live:
        with Gateway(configuration(material, service.port, count), folder / f"added-{count}", cpus=SUBJECT, threads=1) as gateway:
            gateway.ready(600)
            port = gateway.port
            few = opaque(count)[:: max(1, count // 10_000)][:10_000]
            targets = [Target("no authentication", port, "/open", material.tokens["HS256"][:1])]
            if count == live[0]:
                for algorithm in stock.ALGORITHMS:
                    targets.append(Target(f"jwt {algorithm}, one token", port, f"/{algorithm}", material.tokens[algorithm][:1]))
                    targets.append(Target(f"jwt {algorithm}, {stock.DISTINCT} tokens", port, f"/{algorithm}", material.tokens[algorithm]))
                for algorithm in stock.ALGORITHMS[1:]:
                    tokens = [material.mint(algorithm, n, headers={"kid": "one"}, iss=provider(algorithm)) for n in range(stock.DISTINCT)]
                    targets.append(Target(f"oidc {algorithm}, one token", port, f"/oidc/{algorithm}", tokens[:1]))
                    targets.append(Target(f"oidc {algorithm}, {stock.DISTINCT} tokens", port, f"/oidc/{algorithm}", tokens))
                targets.append(Target("401 without a token", port, "/HS256", [None], 401))
            targets.append(Target(f"opaque, {count} live", port, "/opaque", few))
            rows += [row for row in paired(gateway.pid, targets, rounds, say) if count == live[0] or row[0] != targets[0].name]
            for target in targets:
                target.close()
    return rows
