"""The same work by the gateway, HAProxy and nginx, in turns, on one CPU."""

import statistics

from . import tools
from .material import ALGORITHMS
from .processes import SUBJECT, get
from .proxies import Gateway, start_haproxy, start_nginx

PROXIES = ["portcullis", "haproxy", "nginx"]
# Debian 12's HAProxy 2.6 has no EdDSA.
MISSING = {("haproxy", "EdDSA")}


def start(name, material, algorithm, service, folder):
    if name == "haproxy":
        return start_haproxy(material, algorithm, service.port, folder)
    if name == "nginx":
        return start_nginx(material, algorithm, service.port, folder)
    return Gateway(material.kong(service.port), folder, cpus=SUBJECT, threads=1).ready()


def check(proxy, material, algorithm):
    """Nobody is timed who lets the wrong ones in."""
    path = "/open" if algorithm == "none" else f"/{algorithm}"
    bearer = lambda token: {"Authorization": f"Bearer {token}"}
    good = material.tokens["HS256" if algorithm == "none" else algorithm][0]
    expected = [(bearer(good), 200)]
    if algorithm != "none":
        bad = good[:-8] + ("AAAAAAAA" if good[-8:] != "AAAAAAAA" else "BBBBBBBB")
        expired = material.mint(algorithm, 0, -60)
        expected += [({}, 401), (bearer(bad), 401), (bearer(expired), 401)]
    for headers, status in expected:
        answer = get(proxy.url(path), headers)
        if answer[0] != status:
            raise RuntimeError(f"{proxy.name}, {algorithm}: {answer} in place of {status}")


def measure(proxy, service, requests, seconds):
    tools.wrk(proxy, requests, 1)
    used, serving = proxy.cpu_seconds(), service.cpu_seconds()
    result = tools.wrk(proxy, requests, seconds)
    count = max(1, result["requests"])
    result["cpu_us"] = (proxy.cpu_seconds() - used) * 1e6 / count
    result["load_us"] = (result["wrk_cpu_s"] + service.cpu_seconds() - serving) * 1e6 / count
    result["memory"] = proxy.memory()
    return result


def compare(material, service, folder, seconds, repetitions, say):
    """Rows: one for each proxy and algorithm, with all its repetitions."""
    rows = {}
    for repetition in range(repetitions):
        for algorithm in ["none", *ALGORITHMS]:
            kind = "HS256" if algorithm == "none" else algorithm
            path = "/open" if algorithm == "none" else f"/{algorithm}"
            requests = material.requests_file(f"compare-{algorithm}", [(path, token) for token in material.tokens[kind]])
            for name in PROXIES:
                if (name, algorithm) in MISSING:
                    continue
                with start(name, material, algorithm, service, folder / f"{algorithm}-{repetition}") as proxy:
                    check(proxy, material, algorithm)
                    result = measure(proxy, service, requests, seconds)
                say(f"{algorithm:6} {name:10} {result['cpu_us']:7.1f} µs CPU/request {result['per_second']:8.0f}/s"
                    f"  p99 {result['p99_us']} µs  failed {result['failed']}")
                rows.setdefault((algorithm, name), []).append(result)
    return [
        {
            "algorithm": algorithm, "proxy": name,
            "cpu_us": [round(r["cpu_us"], 2) for r in results],
            "load_us": round(statistics.median(r["load_us"] for r in results), 2),
            "per_second": round(statistics.median(r["per_second"] for r in results)),
            "p50_us": statistics.median(r["p50_us"] for r in results),
            "p99_us": statistics.median(r["p99_us"] for r in results),
            "failed": sum(r["failed"] for r in results),
            "memory": max(r["memory"] for r in results),
        }
        for (algorithm, name), results in rows.items()
    ]
