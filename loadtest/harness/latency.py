"""What a proxy adds to a request's time at fixed rates that it bears easily, beside the bare framework and the service itself."""

import contextlib
import statistics

from . import verdicts
from .driver import driver
from .processes import SUBJECT, Others
from .proxies import Gateway, start_floor, start_haproxy
from .scale import percentile
from .slices import FASTEST, Slices, Target, started

# Requests a second; the limit is about `RATE`.
RATES, RATE, LIMIT = (500, 1500, 3000), 1500, 10.0


class Timed(Target):
    """A target of `slices.turns`: µs of the median request of a slice at a fixed rate."""

    def __init__(self, name, proxy, path, token, rate, seconds):
        super().__init__(name, proxy, path, [token])
        self.rate, self.seconds, self.p99 = rate, seconds, []

    def prepare(self):
        self.pace(1)

    def slice(self):
        # What others left in the processor's caches, and how deep it sleeps after them, is no part of it.
        self.pace(self.seconds / 4)
        took = self.pace(self.seconds)
        self.p99.append(percentile(took, 0.99) * 1e6)
        return statistics.median(took) * 1e6

    def pace(self, seconds):
        return self.driven(driver().pace, self.rate, seconds)


def latency(material, upstream, folder, rounds, starts, seconds, say):
    """Rows, and points for the plots: {rate: {name: (p50, p99)}} in µs."""
    points = {}
    for rate in RATES:
        p99 = Slices()

        @contextlib.contextmanager
        def opened(number):
            place, port, token = folder / f"latency-{rate}-{number}", upstream.port, material.tokens["RS256"][0]
            with Gateway(material.kong(port), place, SUBJECT, 1).ready() as gateway, start_floor(False, port, place) as floor, \
                    start_haproxy(material, "RS256", port, place) as haproxy:
                targets = [Timed(name, proxy, path, token, rate, seconds) for name, proxy, path in [
                    ("service alone", upstream, "/open"), ("floor", floor, "/open"), ("open route", gateway, "/open"),
                    ("RS256", gateway, "/RS256"), ("HAProxy, RS256", haproxy, "/RS256")]]
                yield [targets]
                for target in targets:
                    p99[target.name].append(target.p99)

        share = rounds if rate == RATE else max(starts, rounds // 6)
        say(f" {rate} requests/s")
        others = Others()
        slices = started(opened, starts, share, say)
        points[rate] = {name: (slices.median(name), p99.median(name)) for name in slices}
        if rate == RATE:
            found, in_the_way = slices, others.stand_in_the_way()
    how = (f"{RATE} requests/s, each timed from when it was due; slices of {seconds} s in turns, {starts} starts, {max(2, rounds // starts)} rounds each, of which {FASTEST}; "
           "differences of medians")
    alone = "the floor adds {:.0f} ± {:.0f} µs to the service".format(*found.difference("floor", "service alone"))
    rows = []
    for name in ("open route", "RS256"):
        rows.append(verdicts.difference(f"median latency at {RATE} requests/s over the floor's: {name}", LIMIT, found.difference(name, "floor"), how, note=alone))
        if in_the_way:
            rows[-1].update(verdict=verdicts.UNDECIDED, figure=f"{rows[-1]['figure']}; {in_the_way}")
    return rows, points
