"""The program that sends a slice's requests and answers them as the service, on one thread that never sleeps: `loadtest/driver`."""

import functools
import itertools
import os
import pathlib
import struct
import subprocess
import tempfile

from .processes import LOAD, pinned
from .proxies import HERE

PROGRAM = os.environ.get("DRIVER_BIN", str(HERE.parent / "target/loadtest/driver/release/driver"))


class Driver:
    def __init__(self):
        # It ends when its input does.
        self.process = subprocess.Popen(pinned([PROGRAM], LOAD[-1:]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        # Where it is the service.
        self.port = int(self.process.stdout.readline())
        self.ids = itertools.count()

    def command(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().rstrip()
        verdict, *numbers = answer.split(" ") if answer.startswith("ok") else [answer]
        if verdict != "ok":
            raise RuntimeError(f"driver, {words[0]}: {answer or 'ended'}")
        return [int(number) for number in numbers]

    def open(self, port, status, requests):
        """The id of a target, whose requests it has read when this returns."""
        target = next(self.ids)
        with tempfile.NamedTemporaryFile() as file:
            for one in requests:
                file.write(struct.pack("<I", len(one)) + one)
            file.flush()
            self.command("open", target, port, status, pathlib.Path(file.name))
        return target

    def run(self, target, count):
        self.command("run", target, count)

    def pace(self, target, per_second, seconds):
        """Seconds that each request took from when it was due."""
        return [took / 1e9 for took in self.command("run", target, round(per_second * seconds), round(1e9 / per_second))]

    def close(self, target):
        self.command("close", target)

    def forget(self, target):
        self.command("forget", target)


@functools.cache
def driver():
    """One for all: what is behind it as a service is the same for every proxy."""
    return Driver()
