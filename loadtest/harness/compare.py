"""The same work by the gateway, the bare framework it stands on, HAProxy, nginx and Envoy, in turns, on one CPU."""

import dataclasses
import statistics

from . import tools
from .processes import SUBJECT, get
from .proxies import Gateway, start_envoy, start_floor, start_haproxy, start_nginx

PROXIES = ["portcullis", "floor", "haproxy", "nginx", "envoy"]


@dataclasses.dataclass(frozen=True)
class Job:
    """`tokens` names tokens of the material; None sends none."""

    name: str
    algorithm: str
    tokens: str | None
    status: int = 200
    close: bool = False


JOBS = [
    Job("none", "none", "HS256"),
    Job("HS256", "HS256", "HS256"),
    Job("RS256", "RS256", "RS256"),
    Job("ES256", "ES256", "ES256"),
    Job("EdDSA", "EdDSA", "EdDSA"),
    Job("HS256, 8 KiB", "HS256", "8k"),
    Job("401, no token", "HS256", None, status=401),
    Job("401, bad HS256", "HS256", "bad", status=401),
    Job("none, a connection each", "none", None, close=True),
]


def does(name, job):
    if name == "floor":
        return job.algorithm == "none" or job.tokens is None
    # Debian 12's HAProxy 2.6 has no EdDSA.
    return not (name == "haproxy" and job.algorithm == "EdDSA")


def path_of(job):
    return "/open" if job.algorithm == "none" else f"/{job.algorithm}"


def start(name, material, job, service, folder):
    match name:
        case "floor":
            return start_floor(job.status == 401, service.port, folder)
        case "haproxy":
            return start_haproxy(material, job.algorithm, service.port, folder)
        case "nginx":
            return start_nginx(material, job.algorithm, service.port, folder)
        case "envoy":
            return start_envoy(material, job.algorithm, service.port, folder)
        case _:
            return Gateway(material.kong(service.port), folder, cpus=SUBJECT, threads=1).ready()


def check(proxy, material, job):
    """Nobody is timed who lets the wrong ones in."""
    bearer = lambda token: {"Authorization": f"Bearer {token}"}
    kind = job.tokens or "HS256"
    expected = [(bearer(material.tokens[kind][0]) if job.tokens else {}, job.status)]
    if job.algorithm != "none" and proxy.name != "floor":
        good = material.tokens[job.algorithm][0]
        bad = good[:-8] + ("AAAAAAAA" if good[-8:] != "AAAAAAAA" else "BBBBBBBB")
        expired = material.mint(job.algorithm, 0, -120)
        expected += [(bearer(good), 200), ({}, 401), (bearer(bad), 401), (bearer(expired), 401)]
    for headers, status in expected:
        answer = get(proxy.url(path_of(job)), headers)
        if answer[0] != status:
            raise RuntimeError(f"{proxy.name}, {job.name}: {answer} in place of {status}")


def measure(proxy, service, requests, seconds, job):
    tools.wrk(proxy, requests, 1, close=job.close)
    used, serving = proxy.cpu_seconds(), service.cpu_seconds()
    result = tools.wrk(proxy, requests, seconds, close=job.close)
    count = max(1, result["requests"])
    result["cpu_us"] = (proxy.cpu_seconds() - used) * 1e6 / count
    result["load_us"] = (result["wrk_cpu_s"] + service.cpu_seconds() - serving) * 1e6 / count
    result["memory"] = proxy.memory()
    if job.status == 401:
        # wrk counts every answer of 400 and above as an error; here the others are.
        result["failed"] += result["requests"] - 2 * result["status"]
    return result


def compare(material, service, folder, seconds, repetitions, say):
    """Rows: one for each proxy and job, with all its repetitions."""
    rows = {}
    for repetition in range(repetitions):
        for job in JOBS:
            tokens = material.tokens[job.tokens] if job.tokens else [""]
            place = "".join(c if c.isalnum() else "-" for c in job.name)
            requests = material.requests_file(f"compare-{place}", [(path_of(job), token) for token in tokens])
            for name in PROXIES:
                if not does(name, job):
                    continue
                with start(name, material, job, service, folder / f"{place}-{repetition}") as proxy:
                    check(proxy, material, job)
                    result = measure(proxy, service, requests, seconds, job)
                say(f"{job.name:24} {name:10} {result['cpu_us']:7.1f} µs CPU/request {result['per_second']:8.0f}/s"
                    f"  p99 {result['p99_us']} µs  failed {result['failed']}")
                rows.setdefault((job.name, name), []).append(result)
    return [
        {
            "job": job, "proxy": name,
            "cpu_us": [round(r["cpu_us"], 2) for r in results],
            "load_us": round(statistics.median(r["load_us"] for r in results), 2),
            "per_second": round(statistics.median(r["per_second"] for r in results)),
            "p50_us": statistics.median(r["p50_us"] for r in results),
            "p99_us": statistics.median(r["p99_us"] for r in results),
            "failed": sum(r["failed"] for r in results),
            "memory": max(r["memory"] for r in results),
        }
        for (job, name), results in rows.items()
    ]
