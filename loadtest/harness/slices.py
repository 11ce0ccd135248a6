"""CPU time of a request, measured in slices that take turns, to about half a microsecond.

Runs of seconds differ by more than that from one to the next. So slices of a few hundred requests go to everything that is compared, in
random order, and each slice is compared with another one of the same round: what slows the machine for longer than a round slows both.
CPU time is the scheduler's own count, in nanoseconds. The load side does not sleep meanwhile, see `driver`. What counts are the rounds in which the machine was at its fastest, as neighbours of a
virtual one slow it by half for milliseconds or minutes. Where processes are compared they are started anew several times, as two processes
of one program differ too (where their memory lies): the error is what the starts say, or the rounds, whichever is larger.
"""

import collections
import contextlib
import math
import os
import pathlib
import random
import re
import socket
import statistics
import weakref

from .driver import driver
from .processes import LOAD, tree

CONNECTIONS, ROUNDS_A_SLICE, ROUNDS_BEFORE = 32, 12, 6
# How often a token comes until nothing about it is new.
KNOWN_AFTER = 3
LENGTH = re.compile(rb"(?i)content-length: *(\d+)")
# Student's t at 95 % for so many starts.
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 10: 2.26, 12: 2.20, 16: 2.13, 20: 2.09, 32: 2.04}


def request(path, token=None, more=""):
    head = f"GET {path} HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench/1\r\nAccept: */*\r\n{more}"
    return (head + (f"Authorization: Bearer {token}\r\n" if token else "") + "\r\n").encode()


def connect(port):
    stream = socket.create_connection(("127.0.0.1", port), 300)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def complete(answer):
    """Whether a whole answer with a known length is there."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = LENGTH.search(answer, 0, end)
    return len(answer) >= end + 4 + (int(length[1]) if length else 0)


class Target:
    """A path of a process with its tokens in rotation, over kept connections of its own. `values`: one for each round."""

    # Rounds of a slice, and those just before it: what others left in the processor's caches is no part of what a request costs.
    length, lead = ROUNDS_A_SLICE, ROUNDS_BEFORE

    def __init__(self, name, proxy, path, tokens, status=200, checks=None):
        """`checks`: what asks the proxy for the seconds that signature checks took so far, and for their number, of which there is one a
        request. Then `also` has µs of a check in each slice: in the very slices, as the machine changes its speed."""
        self.name, self.pid, self.port, self.status, self.at, self.values = name, proxy.pid, proxy.port, status, 0, []
        # Other values that are found in the same slices, by name.
        self.checks, self.also = checks, {self.check: []} if checks else {}
        self.requests = [request(path, token) for token in tokens]
        # All requests are sent before the first slice, as often as it takes until they are known. With tokens that must be new in each
        # slice only some are, see `Once`.
        self.warm = max(30, 1 + KNOWN_AFTER * len(self.requests) // CONNECTIONS)
        # Known to the driver from the first request on.
        self.id = None

    def run(self, rounds):
        """So many requests for each connection; returns how many. An answer with another status is an error."""
        self.driven(driver().run, rounds * CONNECTIONS)
        self.at += rounds * CONNECTIONS
        return rounds * CONNECTIONS

    def driven(self, run, *how):
        if self.id is None:
            self.id = driver().open(self.port, self.status, self.requests)
            weakref.finalize(self, driver().forget, self.id)
        try:
            return run(self.id, *how)
        except RuntimeError as error:
            raise RuntimeError(f"{self.name}: {error}") from None

    @property
    def check(self):
        return f"{self.name}: the check"

    def prepare(self):
        self.run(self.warm)

    def slice(self):
        """µs of CPU a request."""
        before = self.checks and self.checks()
        used = self.used()
        if self.checks:
            seconds, count = (now - then for now, then in zip(self.checks(), before))
            if count < self.length * CONNECTIONS:
                raise RuntimeError(f"{self.name}: only {count} were verified")
            self.also[self.check].append(seconds * 1e6 / count)
        return used

    def used(self):
        while True:
            self.run(self.lead)
            before = nanoseconds(self.pid)
            count = self.run(self.length)
            # A thread that ended takes its count with it: once more. (`Once` has tokens for that only if it does not happen.)
            if (used := nanoseconds(self.pid) - before) > 0:
                return used / 1e3 / count

    def close(self):
        if self.id is not None:
            driver().close(self.id)


class Once(Target):
    """Each token is sent once and never again."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.warm = 30

    def run(self, rounds):
        if self.at + rounds * CONNECTIONS > len(self.requests):
            raise RuntimeError(f"{self.name}: more than {len(self.requests)} tokens")
        return super().run(rounds)

    @staticmethod
    def tokens(rounds):
        """How many are sent in so many rounds."""
        return (30 + rounds * (ROUNDS_BEFORE + ROUNDS_A_SLICE)) * CONNECTIONS


def nanoseconds(pid):
    """CPU time of a process and its descendants, as the scheduler counts it."""
    total = 0
    for one in tree(pid):
        # A thread may end meanwhile.
        with contextlib.suppress(OSError):
            for task in pathlib.Path(f"/proc/{one}/task").iterdir():
                with contextlib.suppress(OSError):
                    total += int((task / "schedstat").read_text().split()[0])
    return total


def turns(targets, rounds):
    prepare(targets)
    rotate(targets, rounds)


def prepare(targets):
    for target in targets:
        target.prepare()
        # Another's million tokens may take longer than a connection may be idle; the first slice opens new ones.
        target.close()


def rotate(targets, rounds):
    for _ in range(rounds):
        for target in random.sample(targets, len(targets)):
            target.values.append(target.slice())


FASTEST = "the third in which the machine was at its fastest"


def fastest(targets):
    """Which rounds the machine was at its fastest in: the third with the least time in all, of all targets together. What a request
    costs at half the speed is twice as much, and targets in µs mean a machine that is not slowed down by its neighbours."""
    totals = [sum(values) for values in zip(*(target.values for target in targets))]
    order = sorted(range(len(totals)), key=totals.__getitem__)
    return order[:max(5, len(order) // 3)]


def middle(values):
    """Without a tenth at either end: a slice that something else broke into says nothing about the proxy."""
    values = sorted(values)
    return values[len(values) // 10:len(values) - len(values) // 10]


def combine(groups):
    """Mean, and half of its 95 % interval, of values in groups (a group for each start of the processes)."""
    groups = [middle(group) for group in groups]
    means = [statistics.mean(group) for group in groups]
    within = [statistics.variance(group) / len(group) if len(group) > 1 else 0.0 for group in groups]
    error = 1.96 * math.sqrt(sum(within)) / len(groups)
    if len(groups) > 1:
        error = max(error, STUDENT.get(len(groups), 2.3) * statistics.stdev(means) / math.sqrt(len(groups)))
    return statistics.mean(means), error


class Slices(collections.defaultdict):
    """Name to values: one list for each start of the processes, one value for each round."""

    def __init__(self):
        super().__init__(list)

    def value(self, name):
        return combine(self[name])

    def median(self, name):
        return statistics.median(value for group in self[name] for value in group)

    def difference(self, name, *bases):
        """Over all the others together."""
        groups = zip(*(self[one] for one in (name, *bases)))
        return combine([[value - sum(others) for value, *others in zip(*group)] for group in groups])

    def ratio(self, name, base):
        mean, error = combine([[math.log(max(a, 1e-3) / max(b, 1e-3)) for a, b in zip(*pair)] for pair in zip(self[name], self[base])])
        return math.exp(mean), math.exp(mean) * error


def started(opened, starts, rounds, say):
    """Slices of what `opened(number)`, a context, gives: lists of targets that take turns with each other. Each start has its share of
    the rounds, of which the fastest count."""
    os.sched_setaffinity(0, set(LOAD))
    slices = Slices()
    for number in range(starts):
        with opened(number) as groups:
            targets = [target for group in groups for target in group]
            try:
                for group in groups:
                    turns(group, max(2, rounds // starts))
            finally:
                for target in targets:
                    target.close()
            for group in groups:
                quick = fastest(group)
                for target in group:
                    for name, values in {target.name: target.values, **target.also}.items():
                        slices[name].append([values[at] for at in quick])
        say(f"  start {number + 1} of {starts}: " + ", ".join(f"{t.name} {statistics.median(t.values):.1f}" for t in targets))
    return slices
