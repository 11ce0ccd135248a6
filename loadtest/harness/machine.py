"""Where and of what a run was made."""

import datetime
import hashlib
import os
import pathlib
import platform
import subprocess

from .processes import CPUS, LOAD, SUBJECT
from .proxies import GATEWAY, HERE


def first_line(command):
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except OSError:
        return "not there"
    return ((ran.stdout + ran.stderr).strip().splitlines() or ["says nothing"])[0]


def describe():
    """Facts as pairs of a name and a text."""
    cpu = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    git = lambda *arguments: first_line(["git", "-C", str(HERE), *arguments])
    changed = subprocess.run(["git", "-C", str(HERE), "status", "--porcelain", "src"], capture_output=True, text=True).stdout
    digest = hashlib.sha256(pathlib.Path(GATEWAY).read_bytes()).hexdigest()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{cpu}, {len(CPUS)} CPUs, {memory:.0f} GiB, Linux {platform.release()}",
        # What the binary was built from is only known for the one that `loadtest/run` built.
        "tree": git("rev-parse", "--short=12", "HEAD") + (" with changes" if changed else ""),
        "gateway": f"{first_line([GATEWAY, 'version'])} ({GATEWAY.removeprefix(str(HERE.parent) + '/')}, sha256 {digest[:12]})",
        "beside it": f"{first_line(['haproxy', '-v'])}; {first_line(['nginx', '-v'])}; {first_line(['wrk', '-v'])}",
        "CPUs": f"proxy {SUBJECT}, wrk, k6 and service {LOAD}" if len(CPUS) > 1 else "one CPU for everything",
        "other load at the start": f"{os.getloadavg()[0]:.1f} (load average)",
    }
