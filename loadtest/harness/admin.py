"""What the Admin API costs over a large database: import, start, one write until it is served, a page of a list."""

import argparse
import json
import re
import shutil
import statistics
import sys
import time

from . import machine
from .proxies import service
from .scale import WORK, generate, load, percentile
from .stored import Admin, Stored, fill, write

LIMIT = 0.050
DELAY = 0.010
TAGS = 100


def said(name, times):
    line = {
        "p50": statistics.median(times) * 1e3, "p99": percentile(times, 0.99) * 1e3, "longest": max(times) * 1e3, "count": len(times),
    }
    print(f"{name}: median {line['p50']:.1f} ms, p99 {line['p99']:.1f} ms, longest {line['longest']:.1f} ms of {line['count']}", flush=True)
    return line


def pages(admin, path, most):
    """Times of the pages of a list, and how many entities they had."""
    times, entities = [], 0
    while path and len(times) < most:
        status, data, took = admin.ask("GET", path)
        assert status == 200, data[:200]
        times.append(took)
        entities += data.count(b'"created_at"')
        found = re.search(rb'"next":"([^"]+)"', data[-600:])
        path = found and found.group(1).decode()
    return times, entities


def main():
    parser = argparse.ArgumentParser(prog="loadtest/admin")
    parser.add_argument("--consumers", type=int, default=100_000)
    parser.add_argument("--writes", type=int, default=200)
    parser.add_argument("--rate", type=int, default=200, help="requests a second meanwhile")
    parser.add_argument("--database", default="sqlite", help="sqlite, or postgres://… of an empty database")
    parser.add_argument("--patience", type=float, default=300)
    arguments = parser.parse_args()
    # Threads of this process are no part of what is measured; they take turns quickly.
    sys.setswitchinterval(0.0005)
    folder = WORK / "admin"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    facts = machine.describe()
    for name, value in facts.items():
        print(f"{name}: {value}", flush=True)
    database = f"sqlite:{folder}/store.db" if arguments.database == "sqlite" else arguments.database
    failures = []

    def hold(so, what):
        if not so:
            failures.append(what)

    with service(folder) as upstream:
        text = json.loads(generate(1, arguments.consumers, upstream.port, 0, "json"))
        for n, consumer in enumerate(text["consumers"]):
            consumer["tags"] = [f"t{n % TAGS}"]
        file = folder / "kong.json"
        file.write_text(json.dumps(text))
        del text
        imported = fill(database, file, folder)
        print(f"{arguments.consumers} consumers with a credential each: imported in {imported:.1f} s", flush=True)
        start = time.monotonic()
        with Stored(database, folder / "gateway") as gateway:
            gateway.ready(arguments.patience)
            ready, memory = time.monotonic() - start, gateway.memory()
            print(f"ready after {ready:.2f} s; {memory / 2**20:.0f} MiB resident", flush=True)
            admin = Admin(gateway.admin)
            lists = {}
            for name, path in [
                ("page of 1000 credentials", "/jwts?size=1000"),
                ("page of 1000 consumers", "/consumers?size=1000"),
                ("page of 100 consumers", "/consumers"),
                ("page of 1000 consumers with a tag", "/consumers?size=1000&tags=t7"),
                ("page of consumers with one of two tags", "/consumers?tags=t7/t8"),
                ("page of a consumer's credentials", "/consumers/consumer-000007/jwt"),
                ("one consumer by name", "/consumers/consumer-000007"),
                ("page of tags", "/tags"),
            ]:
                pages(admin, path, 2)
                times = [took for _ in range(1 if "1000" in name else 10) for took in pages(admin, path, 40 if "1000" in name else 4)[0]]
                lists[name] = said(name, times)
                hold(statistics.median(times) < LIMIT, name)
            clients = load(gateway.port, 1, arguments.consumers, per_second=arguments.rate // 4)
            time.sleep(1)
            marks = [time.monotonic()]
            time.sleep(max(5.0, arguments.writes * 0.05))
            marks.append(time.monotonic())
            # Its connection may have been idle for too long meanwhile.
            admin = Admin(gateway.admin)
            times, refused = write(admin, gateway, arguments.consumers, arguments.writes, 0.03)
            marks.append(time.monotonic())
            asked, failed = clients.stop()
            between = lambda low, high: [took for at, took in asked if low <= at < high]
            written = said("write of a credential until it is served", times)
            quiet = said("requests before the writes", between(marks[0], marks[1]))
            during = said("requests during the writes", between(marks[1], marks[2]))
            hold(refused == 0, "a credential that was answered was not served")
            hold(written["p99"] < LIMIT * 1e3, "write")
            hold(during["p99"] < quiet["p99"] + DELAY * 1e3, "requests during writes")
            hold(not failed, "a request failed")
            after = gateway.memory()
    result = {
        "machine": facts, "consumers": arguments.consumers, "database": database.split(":")[0], "import_s": imported, "ready_s": ready,
        "memory": [memory, after], "lists_ms": lists, "write_ms": written, "quiet_ms": quiet, "during_ms": during, "failures": failures,
    }
    report = WORK / "report"
    report.mkdir(parents=True, exist_ok=True)
    (report / f"admin-{arguments.consumers}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"{after / 2**20:.0f} MiB resident at the end; {'held' if not failures else 'NOT HELD: ' + ', '.join(failures)}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
