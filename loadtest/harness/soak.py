"""Half load for long, with a reload every second: whether memory, latency or errors grow."""

import statistics
import threading
import time

from . import tools, verdicts
from .material import ALGORITHMS
from .pace import Paced
from .processes import SUBJECT, Others
from .proxies import Gateway
from .scale import percentile
from .scenarios import Reloader
from .slices import request

# The last third beside the middle third: the first is for caches to fill. Of latency the quietest quarter of the minutes, as whoever else
# uses the machine only ever adds to it, often unseen; what the gateway adds by itself as time goes on it adds to those as well.
MEMORY_FACTOR, P99_FACTOR = 1.10, 1.5


class Sampler(threading.Thread):
    """Every second: resident memory of the gateway, and the share of the CPUs that is no part of the run."""

    def __init__(self, gateway):
        super().__init__(daemon=True)
        self.gateway, self.done, self.samples, self.others, self.began = gateway, threading.Event(), [], Others(), time.monotonic()

    def run(self):
        while not self.done.wait(1):
            self.samples.append((time.monotonic() - self.began, self.gateway.memory(), self.others.share()))
            self.others.again()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join(5)


def soak(bench, seconds, say):
    """A row, and the series: one entry a minute, or for a tenth of a short run."""
    span = 60 if seconds >= 600 else seconds / 10
    requests = [request(f"/{a}", token) for n in range(1000) for a in ALGORITHMS for token in [bench.material.tokens[a][n]]]
    folder = bench.folder / "soak"
    with Gateway(bench.material.kong(bench.service.port), folder, SUBJECT, 1).ready() as gateway:
        saturation = [tools.wrk(gateway, bench.everything(), 2 + bench.seconds // 5)["per_second"] for _ in range(2)][1]
        client = Paced(gateway.port, requests)
        rate = saturation / 2
        client.run(rate, 2)
        say(f"  saturation {saturation:.0f}/s; {rate:.0f}/s for {seconds} s, a reload every second")
        with Reloader(gateway, bench) as reloader, Sampler(gateway) as sampler:
            client.failed, client.failures = client.failed[:0], client.failures.__class__()
            client.run(rate, seconds)
        client.close()
    series = []
    buckets = [[] for _ in range(round(seconds / span))]
    for at, took in zip(client.at, client.took):
        buckets[min(len(buckets) - 1, int(at / span))].append(took * 1e3)
    for number, times in enumerate(buckets):
        samples = [sample for sample in sampler.samples if number * span <= sample[0] < (number + 1) * span]
        memory = [value for _, value, _ in samples]
        series.append({
            "at": (number + 1) * span, "requests": len(times), "errors": sum(number * span <= at < (number + 1) * span for at in client.failed),
            "memory": statistics.median(memory) if memory else None, "most": max(memory, default=None),
            "p50": statistics.median(times) if times else None, "p99": percentile(times, 0.99), "longest": max(times, default=None),
            "others": statistics.mean(share for _, _, share in samples) if samples else None,
        })
    facts = [
        f"saturation {saturation:.0f} requests/s (wrk); {len(client.took)} requests at {rate:.0f}/s ({rate / saturation:.0%}) in {seconds} s, "
        f"{reloader.count} reloads, good and broken files in turn",
    ]
    row = judge(series, seconds, dict(client.failures), reloader.wrong)
    facts.append(row["figure"])
    for fact in facts:
        say(f"  {fact}")
    return [row], series


def judge(series, seconds, failures, wrong):
    """The row of a series; `failures`: requests by what became of them; `wrong`: what reloads did that they should not."""
    third = len(series) // 3
    parts = {name: part for name, part in [("middle", series[-2 * third:-third]), ("last", series[-third:])]}
    values = lambda name, key: sorted(one[key] for one in parts[name] if one[key] is not None)
    of = lambda name, key: statistics.median(values(name, key))
    quiet = lambda name, key: values(name, key)[third // 4]
    memory, p99 = of("last", "memory") / of("middle", "memory"), quiet("last", "p99") / quiet("middle", "p99")
    errors, others = sum(failures.values()), max(of(name, "others") for name in parts)
    facts = [
        f"{errors} errors" + (f" {failures}" if errors else ""),
        f"resident memory: last third {of('last', 'memory') / 2**20:.1f} MiB, {memory:.3f} × the middle third's",
        f"p99 in the quietest quarter of the minutes: last third {quiet('last', 'p99'):.1f} ms, {p99:.2f} × the middle third's "
        f"(medians of all minutes: {of('last', 'p99'):.1f} and {of('middle', 'p99'):.1f} ms)",
        f"p50: last third {of('last', 'p50'):.2f} ms, {of('last', 'p50') / of('middle', 'p50'):.2f} × the middle third's",
    ]
    long = seconds >= 300
    # A quarter of a third: of a shorter run that is a single minute, which any neighbour may have had.
    several = third // 4 >= 2
    carried = several and others <= Others.MOST
    if others > Others.MOST:
        facts.append(f"other work took {others:.0%} of the machine's CPUs: latency says nothing")
    if not long:
        facts.append("too short a run to see anything grow")
    elif not several:
        facts.append("too few minutes for a verdict on p99: the quietest quarter of a third is one of them")
    how = f"paced client, four algorithms, 1,000 tokens of each, {seconds} s, a reload every second"
    failed = errors or wrong or (long and memory > MEMORY_FACTOR) or (carried and p99 > P99_FACTOR)
    verdict = verdicts.FAILED if failed else verdicts.PASSED if carried else verdicts.UNDECIDED
    return verdicts.row("half load with a reload every second", "no error; memory, p99 of the last third at most "
                        f"{MEMORY_FACTOR:g} and {P99_FACTOR:g} × the middle third's", "; ".join(facts + wrong[:3]), verdict, how)
