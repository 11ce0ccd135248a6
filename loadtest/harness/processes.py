"""Starts programs on chosen CPUs, reads what they used, and ends them by their id."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")
CPUS = sorted(os.sched_getaffinity(0))
# What is measured runs on the first CPU, everything that loads and serves on the others. One CPU: no pinning.
SUBJECT = CPUS[:1] if len(CPUS) > 1 else CPUS
LOAD = CPUS[1:] or CPUS


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(command, cpus):
    if len(CPUS) == 1 or not shutil.which("taskset"):
        return command
    return ["taskset", "-c", ",".join(map(str, cpus)), *command]


def stat_fields(pid):
    """The fields of /proc/PID/stat after the command's name, or None when the process is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2:].split()


def tree(root):
    """A process and its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := stat_fields(entry)):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


class Others:
    """What is no part of this run: its share of all CPUs since this was made, or since `again`. Time that a hypervisor kept counts too."""

    # From here on times say more about the machine than about a proxy.
    MOST = 0.05

    def __init__(self):
        self.again()

    def read(self):
        fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        # Of this process and all below it; a process that has ended is in its parent's count of those.
        ours = sum(int(n) for pid in tree(os.getpid()) if (stat := stat_fields(pid)) for n in stat[11:15])
        return (sum(int(fields[n]) for n in (0, 1, 2, 5, 6, 7)) - ours) / TICKS, time.monotonic()

    def again(self):
        self.used, self.at = self.read()

    def share(self):
        used, at = self.read()
        return max(0.0, (used - self.used) / max(1e-3, at - self.at) / os.cpu_count())

    def stand_in_the_way(self):
        """Why times say nothing; empty when they do."""
        share = self.share()
        return f"other work took {share:.0%} of the machine's CPUs: times say nothing" if share > self.MOST else ""


def get(url, headers=None, timeout=20):
    """Status and body of one request on a connection of its own."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


class Process:
    """A program that was started, and its descendants."""

    def __init__(self, command, cpus, folder, env=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.log_file = folder, folder / "output.log"
        with self.log_file.open("ab") as log:
            self.popen = subprocess.Popen(
                pinned(command, cpus), env={**os.environ, **(env or {})}, cwd=folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        self.pid = self.popen.pid

    def log(self):
        return self.log_file.read_text(errors="replace")

    def cpu_seconds(self):
        """User and system time of the whole tree; its grain is one clock tick (10 ms)."""
        used = 0
        for pid in tree(self.pid):
            if fields := stat_fields(pid):
                used += int(fields[11]) + int(fields[12])
        return used / TICKS

    def memory(self):
        """Resident bytes of the whole tree."""
        total = 0
        for pid in tree(self.pid):
            if fields := stat_fields(pid):
                total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        return total

    def forget_peak(self):
        """`peak` counts from now on."""
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak(self):
        """The most resident bytes of the process (alone) so far."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def wait_for(self, so, what, seconds=60.0, step=0.02):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.popen.poll() is not None:
                raise RuntimeError(f"{what}: ended with {self.popen.returncode}\n{self.log()[-3000:]}")
            with contextlib.suppress(OSError):
                if so():
                    return
            time.sleep(step)
        raise RuntimeError(f"{what}: not within {seconds:g} s\n{self.log()[-3000:]}")

    def stop(self):
        everyone = tree(self.pid)
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(5)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        for pid in everyone[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
