"""The scenarios with a verdict. Each returns {"passed", "facts": [lines], "numbers": {…}}."""

import contextlib
import random
import statistics
import threading
import time

from . import provider, tools
from .material import ALGORITHMS
from .processes import get
from .proxies import Gateway

# Good traffic beside garbage may be this much slower (p99) than beside as much more good traffic.
ATTACK_FACTOR = 1.5
# Below this p99 (ms) a ratio of two is the machine's noise: it passes.
ATTACK_FLOOR = 2.0

BROKEN = [
    '{"_format_version": "3.0", "services": [',
    '{"_format_version": "3.0",\n "services": [{"name": "a", "url": "http://127.0.0.1", "hots": "b"}]}',
    '{"_format_version": "3.0",\n "routes": [{"name": "a", "paths": ["~/("]}]}',
    '{"_format_version": "3.0",\n "consumers": [{"username": "a", "jwt_secrets": [{"key": "k", "algorithm": "RS256"}]}]}',
]


class Bench:
    """What the scenarios share: the service, keys and tokens, how long and how fast."""

    def __init__(self, material, service, folder, seconds, rate, storm):
        self.material, self.service, self.folder, self.seconds, self.rate, self.storm = material, service, folder, seconds, rate, storm

    def gateway(self, name):
        folder = self.folder / name
        return Gateway(self.material.kong(self.service.port), folder).ready()

    def k6(self, script, gateway, **env):
        return tools.k6(script, gateway, self.material, self.folder, self.seconds, self.rate, env)

    def everything(self):
        lines = [(f"/{algorithm}", token) for algorithm in ALGORITHMS for token in self.material.tokens[algorithm]]
        random.Random(1).shuffle(lines)
        return self.material.requests_file("everything", lines)


def milliseconds(values):
    return {name: round(values.get(name, 0.0), 2) for name in ("med", "p(95)", "p(99)", "max")}


def simple(script):
    def run(bench):
        with bench.gateway(script) as gateway:
            result = bench.k6(script, gateway)
        count = int(result["metrics"]["http_reqs"]["values"]["count"])
        numbers = {"requests": count, "milliseconds": milliseconds(tools.duration(result))}
        facts = [f"{count} requests; " + shown(numbers["milliseconds"])]
        return {"passed": result["passed"], "facts": facts + result["broken"], "numbers": numbers}

    return run


def shown(values):
    return f"p50 {values['med']} ms, p99 {values['p(99)']} ms, longest {values['max']} ms"


def spike(bench):
    with bench.gateway("spike") as gateway:
        result = bench.k6("spike", gateway)
    numbers = {phase: milliseconds(tools.duration(result, f"{{scenario:{phase}}}")) for phase in ("before", "spike", "after")}
    return {"passed": result["passed"], "facts": [f"{phase}: {shown(v)}" for phase, v in numbers.items()] + result["broken"],
            "numbers": {"milliseconds": numbers}}


class Reloader(threading.Thread):
    """Reloads a gateway every second, good and broken files in turn, and sees to it that the right one serves after each."""

    def __init__(self, gateway, bench):
        super().__init__(daemon=True)
        self.gateway, self.bench = gateway, bench
        self.done, self.wrong, self.count, self.took = threading.Event(), [], 0, []

    def run(self):
        try:
            while not self.done.is_set():
                start = time.monotonic()
                self.once()
                self.done.wait(max(0.0, 1.0 - (time.monotonic() - start)))
        except Exception as error:  # a failed check must not leave the run without a verdict
            self.wrong.append(f"reload {self.count}: {error!r}")

    def once(self):
        self.count += 1
        broken = self.count % 2 == 0
        before = self.gateway.reloads()[broken]
        text = BROKEN[self.count // 2 % len(BROKEN)] if broken else self.bench.material.kong(self.bench.service.port, self.count)
        self.gateway.configure(text)
        start = time.monotonic()
        self.gateway.reload()
        self.gateway.wait_for(lambda: self.gateway.reloads()[broken] > before, f"reload {self.count}", 20)
        self.took.append(time.monotonic() - start)
        due = f"generation-{self.count - 1 if broken else self.count}"
        answer = get(self.gateway.url("/generation"))[1]
        if due not in answer:
            self.wrong.append(f"after reload {self.count} ({'broken' if broken else 'good'} file): {answer!r}, not {due}")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join(30)


def reload(bench):
    with bench.gateway("reload") as gateway:
        with Reloader(gateway, bench) as reloader:
            full = tools.wrk(gateway, bench.everything(), bench.seconds)
            kept = bench.k6("reload", gateway)
            fresh = bench.k6("reload", gateway, FRESH="1")
        log = gateway.log()
    problems = list(reloader.wrong)
    if full["failed"]:
        problems.append(f"wrk: {full['failed']} failed requests")
    problems += [f"kept connections: {rule}" for rule in kept["broken"]] + [f"fresh connections: {rule}" for rule in fresh["broken"]]
    if reloader.count > 1 and f"{gateway.file}:" not in log and f"{gateway.file.name}:" not in log:
        problems.append("the log does not name the broken file and line")
    numbers = {
        "reloads": reloader.count, "requests_full_speed": full["requests"],
        "milliseconds": {"kept": milliseconds(tools.duration(kept)), "fresh": milliseconds(tools.duration(fresh))},
    }
    facts = [
        f"{reloader.count} reloads, seen after {statistics.median(reloader.took) * 1000:.0f} ms (median)",
        f"full speed: {full['requests']} requests, {full['failed']} failed, p99 {full['p99_us'] / 1000:.2f} ms",
        *(f"{kind}: {shown(values)}" for kind, values in numbers["milliseconds"].items()),
    ]
    return {"passed": not problems and kept["passed"] and fresh["passed"], "facts": facts + problems, "numbers": numbers}


def attack(bench):
    with bench.gateway("attack") as gateway:
        result = bench.k6("attack", gateway)
    p99 = {
        kind: [tools.duration(result, f"{{scenario:{kind}{turn}}}").get("p(99)", 0.0) for turn in range(3)]
        for kind in ("alone", "beside_good", "beside_garbage")
    }
    # A turn without a finished request has no p99; its checks have failed by then.
    alone, good, garbage = (min(filter(None, values), default=0.0) for values in p99.values())
    near = 0 < garbage <= max(good * ATTACK_FACTOR, ATTACK_FLOOR)
    facts = [
        f"good traffic's p99: beside garbage {garbage:.2f} ms, beside as much more good traffic {good:.2f} ms"
        f" ({garbage / max(good, 1e-9):.2f}×), alone {alone:.2f} ms; best of three turns each"
    ]
    return {"passed": result["passed"] and near, "facts": facts + result["broken"], "numbers": {"p99_milliseconds": p99}}


SCENARIOS = {
    "smoke": simple("smoke"), "load": simple("load"), "spike": spike, "reload": reload, "attack": attack,
    "rotation": provider.rotation, "storm": provider.storm,
}


@contextlib.contextmanager
def failing_softly(results, name):
    """An exception in a scenario is its verdict; the others still run."""
    try:
        yield
    except Exception as error:
        results[name] = {"passed": False, "facts": [f"{type(error).__name__}: {error}"], "numbers": {}}
