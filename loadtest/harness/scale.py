"""What a large configuration costs to load, to hold and to replace while requests are served."""

import argparse
import contextlib
import hashlib
import json
import pathlib
import random
import shutil
import statistics
import sys
import time

import jwt

from . import machine, verdicts
from .lightly import Load
from .processes import Others, get
from .proxies import Gateway, service

WORK = pathlib.Path(__file__).resolve().parents[2] / "target/loadtest"
ROUTES_PER_SERVICE = 10
EACH = "bytes a consumer"
# Seconds without a reload, to compare with.
QUIET = 12


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
    return Load(port, requests, clients, per_second)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


@contextlib.contextmanager
def loaded(text, form, folder, patience):
    """A gateway that serves this file, and seconds from its process's start until it did."""
    start = time.monotonic()
    with Gateway(text, folder, name=f"kong.{form}") as gateway:
        # From the process's start, not from when the file began to be written.
        start = max(start, time.monotonic() - 0.05)
        gateway.ready(patience, step=0.005)
        yield gateway, time.monotonic() - start


def measure(routes, consumers, reloads, form, folder, patience=180, say=print, yaml=False):
    """Starts a gateway on so large a configuration, loads it lightly, and reloads it; all it takes. `yaml`: one start from YAML, too."""
    shutil.rmtree(folder, ignore_errors=True)
    with service(folder) as upstream:
        text = lambda generation, form=form: generate(routes, consumers, upstream.port, generation, form)
        yaml_ready = None
        if yaml:
            with loaded(text(0, "yaml"), "yaml", folder, patience) as (_, yaml_ready):
                say(f"{consumers} consumers: ready after {yaml_ready:.2f} s from YAML")
        first = text(0)
        with loaded(first, form, folder, patience) as (gateway, ready):
            memory = [gateway.memory()]
            say(f"{routes} routes, {consumers} consumers: {len(first) / 2**20:.1f} MiB of {form}")
            say(f"ready after {ready:.2f} s; {memory[0] / 2**20:.0f} MiB resident")

            others = Others()
            serves = lambda generation: f"generation-{generation}" in get(gateway.url("/generation"))[1]
            clients = load(gateway.port, routes, consumers)
            # As long as a large reload takes: the longest of more requests is longer.
            spans = [(time.monotonic(), time.monotonic() + QUIET)]
            time.sleep(QUIET)
            took, peaks = [], []
            for generation in range(1, reloads + 1):
                # Python is done with its own work (making the text) before the clock starts.
                gateway.configure(text(generation))
                time.sleep(1)
                gateway.forget_peak()
                begin = time.monotonic()
                gateway.reload()
                # Seldom, and by what costs little: asking takes a processor from the requests.
                gateway.wait_for(lambda generation=generation: serves(generation), f"reload {generation}", patience, 0.05)
                end = time.monotonic()
                took.append(end - begin)
                time.sleep(1)
                spans.append((begin - 0.05, end + 0.5))
                memory.append(gateway.memory())
                peaks.append(gateway.peak())
                say(f"reload {generation}: {took[-1]:.2f} s, {memory[-1] / 2**20:.0f} MiB, at most {peaks[-1] / 2**20:.0f} MiB meanwhile")
            # What it comes back to: the allocator gives pages back a while later.
            time.sleep(10)
            settled = gateway.memory()
            in_the_way = others.stand_in_the_way()
            times, failed = clients.stop()

    quiet, *during = [[spent for at, spent in times if begin <= at <= end] for begin, end in spans]
    for generation, spent in enumerate(during, 1):
        say(f"reload {generation}: longest request {max(spent) * 1000:.1f} ms, p99 {percentile(spent, 0.99) * 1000:.1f} ms")
    every = [spent for spans in during for spent in spans]
    spread = lambda times: {"p50": statistics.median(times) * 1e3, "p99": percentile(times, 0.99) * 1e3, "longest": max(times) * 1e3}
    return {
        "routes": routes, "consumers": consumers, "format": form, "file_bytes": len(first), "ready_s": ready, "yaml_ready_s": yaml_ready,
        "memory": memory, "settled": settled, "peak": max(peaks), "reload_s": took, "quiet_ms": spread(quiet), "reload_ms": spread(every),
        "failed": failed, "in_the_way": in_the_way,
    }


def verdicts_of(sizes):
    """Rows about the largest configuration. Memory is over the smallest one's."""
    least, most = (pick(sizes, key=lambda size: size["consumers"]) for pick in (min, max))
    count, more = most["consumers"], most["consumers"] - least["consumers"]
    at, how = f"{count:,} consumers", f"{count:,} consumers with an HS256 credential each on {most['routes']:,} routes, JSON, 200 requests/s meanwhile"
    # Targets are about a million. Fewer can be too slow already, and say nothing else: pages that are kept outweigh few consumers.
    small = "" if count >= 1_000_000 else "a million was not run"

    def bound(what, value, limit, unit, how=how, note=""):
        one = verdicts.bound(f"{what}, {at}", f"{limit:g} {unit} with 1,000,000", value, limit, unit, how, "; ".join(filter(None, [note, small])))
        if small and (one["verdict"] == verdicts.PASSED or unit == EACH):
            one["verdict"] = verdicts.UNDECIDED
        return one if unit == EACH else timed(one)

    def timed(one):
        if most["in_the_way"]:
            one.update(verdict=verdicts.UNDECIDED, figure=f"{one['figure']}; {most['in_the_way']}")
        return one

    rows = []
    if more:
        for what, memory, limit in [("memory after the start", lambda size: size["memory"][0], 600),
                                    ("memory 10 s after the last reload", lambda size: size["settled"], 600),
                                    ("peak of memory at a reload", lambda size: size["peak"], 1200)]:
            rows.append(bound(what, (memory(most) - memory(least)) / more, limit, EACH, note=f"{memory(most) / 2**20:.0f} MiB in all; over the same with "
                              f"{least['consumers']:,}"))
    rows.append(bound("start from JSON", most["ready_s"], 10, "s"))
    if "sqlite_ready_s" in most:
        rows.append(bound("start from SQLite", most["sqlite_ready_s"], 10, "s"))
    if most["yaml_ready_s"]:
        rows.append(verdicts.stated(f"start from YAML, {at}", f"{most['yaml_ready_s']:.2f} s", how))
    limit = most["quiet_ms"]["longest"] + 10
    rows.append(verdicts.bound(f"longest request at a reload, {at}", "the longest between reloads + 10 ms; none failed", most["reload_ms"]["longest"], limit, "ms",
                               how, f"{most['quiet_ms']['longest']:.1f} ms between reloads; {len(most['failed'])} failed"))
    if most["failed"]:
        rows[-1]["verdict"] = verdicts.FAILED
    else:
        timed(rows[-1])
    if "write_ms" in most:
        write = most["write_ms"]
        rows.append(bound("a credential written until it is served (p99)", write["p99"], 50, "ms", "SQLite; 300 writes, each used at once",
                          f"longest {write['longest']:.1f} ms; {write['refused']} not served at once"))
        if write["refused"]:
            rows[-1]["verdict"] = verdicts.FAILED
    return rows


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
