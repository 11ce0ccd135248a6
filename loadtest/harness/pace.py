"""A client that keeps a rate: each request has its time, and is timed from then on, whether or not a connection was free (so that a pause
counts for every request that was due in it). Light enough to share a CPU with the service."""

import array
import collections
import contextlib
import ctypes
import gc
import select
import time

from .slices import complete, connect

TIMER_SLACK = 29


class Paced:
    """Sends `requests` in rotation. `at`: when each was due, in seconds since the start; `took`: seconds until its answer was whole."""

    def __init__(self, port, requests, connections=32):
        self.port, self.requests, self.next, self.connections = port, requests, 0, connections
        self.idle = collections.deque()
        self.failed, self.failures = array.array("d"), collections.Counter()

    def run(self, per_second, seconds, patience=10.0):
        # Once, and after `close`.
        self.idle = self.idle or collections.deque(connect(self.port) for _ in range(self.connections))
        # Timers of this thread to the microsecond; the system's habit is 50.
        ctypes.CDLL(None).prctl(TIMER_SLACK, 1, 0, 0, 0)
        self.at, self.took = array.array("d"), array.array("d")
        total, sent, busy, clock, idle = int(per_second * seconds), 0, {}, time.perf_counter, self.idle
        gc.disable()
        start = due = clock()
        while sent < total or busy:
            now = clock()
            if sent < total and now >= due and idle:
                one = idle.popleft()
                sent += 1
                try:
                    one.sendall(self.requests[self.next % len(self.requests)])
                    busy[one] = (due, b"")
                except OSError as error:
                    self.fail(one, due - start, repr(error))
                self.next, due = self.next + 1, start + sent / per_second
                continue
            if sent >= total and now > start + seconds + patience:
                for one, (was_due, _) in busy.items():
                    self.fail(one, was_due - start, "no answer")
                break
            wait = max(0.0, due - now) if sent < total and idle else 1.0
            for one in select.select(list(busy), [], [], wait)[0]:
                was_due, answer = busy.pop(one)
                try:
                    part = one.recv(65536)
                except OSError:
                    part = b""
                answer += part
                if part and not complete(answer):
                    busy[one] = (was_due, answer)
                elif answer[9:12] == b"200" and part:
                    self.at.append(was_due - start)
                    self.took.append(clock() - was_due)
                    idle.append(one)
                else:
                    self.fail(one, was_due - start, repr(answer[:60]) if part else "closed")
        gc.enable()
        return self.took

    def fail(self, stream, at, why):
        self.failed.append(at)
        self.failures[why] += 1
        stream.close()
        with contextlib.suppress(OSError):
            self.idle.append(connect(self.port))
        if not self.idle:
            raise RuntimeError(f"nothing listens any more: {dict(self.failures)}")

    def close(self):
        for one in self.idle:
            one.close()
        self.idle.clear()
