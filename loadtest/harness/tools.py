"""Runs wrk and k6 and reads their results."""

import json
import os
import pathlib
import re
import subprocess
import sys

from .processes import LOAD, pinned

HERE = pathlib.Path(__file__).resolve().parents[1]
K6 = pathlib.Path(sys.executable).with_name("k6")


def wrk(proxy, requests, seconds, connections=32, close=False, cpus=None):
    """Closed loop: as many requests as the connections can carry, on a connection each with `close`. Adds wrk's own CPU time."""
    before = os.times()
    ran = subprocess.run(
        pinned(["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s",
                "-s", str(HERE / "wrk/tokens.lua"), proxy.url(), "--", str(requests), *(["close"] if close else [])], cpus or LOAD[:1]),
        capture_output=True, text=True, timeout=seconds + 60,
    )
    after = os.times()
    found = re.search(r"^RESULT (.*)$", ran.stdout, re.M)
    if not found:
        raise RuntimeError(ran.stdout + ran.stderr)
    result = json.loads(found.group(1))
    result["wrk_cpu_s"] = after.children_user - before.children_user + after.children_system - before.children_system
    result["failed"] = sum(result[kind] for kind in ("connect", "read", "write", "status", "timeout"))
    result["per_second"] = result["requests"] / (result["duration_us"] / 1e6)
    return result


def k6(script, proxy, material, folder, seconds, rate, env=None):
    """Runs a script; `passed` is k6's own verdict on its thresholds."""
    folder.mkdir(parents=True, exist_ok=True)
    summary = folder / f"k6-{script}.json"
    summary.unlink(missing_ok=True)
    ran = subprocess.run(
        pinned([str(K6), "run", "--quiet", "--no-usage-report", "--no-color", str(HERE / f"k6/{script}.js")], LOAD),
        env={**os.environ, "BASE": f"http://127.0.0.1:{proxy.port}", "MATERIAL": str(material.file), "SUMMARY": str(summary),
             "SECONDS": str(seconds), "RATE": str(rate), "K6_NO_USAGE_REPORT": "true", **(env or {})},
        capture_output=True, text=True, timeout=seconds * 3 + 120,
    )
    if not summary.exists():
        raise RuntimeError(f"k6 {script} ended with {ran.returncode}\n{ran.stdout}{ran.stderr}")
    metrics = json.loads(summary.read_text())["metrics"]
    broken = [
        f"{name}: {rule}" for name, metric in metrics.items()
        for rule, verdict in metric.get("thresholds", {}).items() if not verdict["ok"]
    ]
    if ran.returncode and not broken:
        broken = [f"k6 ended with {ran.returncode}: {(ran.stdout + ran.stderr).strip()[-500:]}"]
    return {"passed": not broken, "broken": broken, "metrics": metrics}


def duration(result, tag=""):
    """The trend of request durations (ms) of a k6 result, of all or of one scenario."""
    return result["metrics"].get(f"http_req_duration{tag}", {}).get("values", {})
