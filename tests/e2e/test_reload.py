"""A hundred reloads, good and broken files in turn, while wrk sends all it can: nothing fails, and the right file serves."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import jwt
import pytest

from conftest import fetch

RELOADS = int(os.environ.get("E2E_RELOADS", "100"))
SECRET = "reload-secret-of-more-than-32-bytes!"

GOOD = """_format_version: "3.0"
services:
- name: echo
  url: http://127.0.0.1:{service}
  routes:
  - name: guarded
    paths: [/healthy]
    strip_path: false
    plugins:
    - name: jwt
      config: {{claims_to_verify: [exp]}}
  - name: generation
    paths: [/generation]
    plugins:
    - name: request-termination
      config: {{status_code: 200, message: generation-{generation}}}
consumers:
- username: alice
  jwt_secrets:
  - {{key: alice, algorithm: HS256, secret: "{secret}"}}
"""

# A broken file, the line that is at fault, and a word of the reason.
BROKEN = [
    ("_format_version: \"3.0\"\nservices:\n- name: a\n  url: http://127.0.0.1\n  hots: b\n", 5, "hots"),
    ("_format_version: \"3.0\"\nservices:\n- name: a\n  url: [unclosed\nroutes: []\n", None, "kong.yml"),
    ("_format_version: \"3.0\"\nplugins:\n- name: no-such-plugin\n", 3, "no-such-plugin"),
    ("_format_version: \"3.0\"\nroutes:\n- name: r\n  paths: [\"~/(\"]\n", 4, "paths"),
    ("_format_version: \"3.0\"\nconsumers:\n- username: a\n  jwt_secrets:\n  - {key: k, algorithm: HS999}\n", 5, "algorithm"),
]


def put(file, text):
    """At one stroke: a reload must never see half a file that this test wrote."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)


class Load:
    """wrk at full speed on one path; `failed` says what was not answered below 400."""

    def __init__(self, gate, folder, path, token, seconds):
        script = folder / "load.lua"
        script.write_text(
            f'wrk.headers["Authorization"] = "Bearer {token}"\n'
            "function done(s) local e = s.errors io.write(string.format('RESULT %d %d\\n', s.requests,"
            " e.connect + e.read + e.write + e.status + e.timeout)) end\n"
        )
        self.process = subprocess.Popen(
            ["wrk", "-t1", "-c16", f"-d{seconds}s", "--timeout", "20s", "-s", str(script), gate.url(path)],
            stdout=subprocess.PIPE, text=True,
        )

    def result(self):
        out, _ = self.process.communicate(timeout=600)
        requests, failed = re.search(r"^RESULT (\d+) (\d+)$", out, re.M).groups()
        assert int(requests) > 0, out
        return int(failed), out

    def running(self):
        return self.process.poll() is None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.running():
            self.process.kill()
            self.process.wait()


def reloads(gate):
    """(succeeded, failed) so far."""
    metrics = fetch(f"http://127.0.0.1:{gate.status}/metrics").body
    found = dict(re.findall(r'^portcullis_config_reload_total\{result="(\w+)"\} (\S+)$', metrics, re.M))
    return float(found.get("success", 0)), float(found.get("failure", 0))


def until(what, so, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if so():
                return
        time.sleep(0.01)
    raise AssertionError(f"did not happen: {what}")


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_a_hundred_reloads_under_load(gateway, service, tmp_path):
    config = lambda generation: GOOD.format(service=service, generation=generation, secret=SECRET)
    gate = gateway(config(0), env={"PORTCULLIS_PROXY_ACCESS_LOG": "off"})
    token = jwt.encode({"iss": "alice", "exp": int(time.time()) + 3600}, SECRET, algorithm="HS256")
    assert gate.get("/healthy", token).status == 200
    assert gate.get("/healthy").status == 401

    done, failures = 0, []
    while done < RELOADS:
        # One wrk after another: each lasts a bounded time.
        with Load(gate, tmp_path, "/healthy", token, 10) as load:
            while done < RELOADS and load.running():
                done += 1
                broken = done % 2 == 0
                text, line, word = BROKEN[done // 2 % len(BROKEN)] if broken else (config(done), None, None)
                before, logged = reloads(gate)[broken], len(gate.log())
                put(gate.config, text)
                gate.process.send_signal(signal.SIGHUP)
                until(f"reload {done} is counted", lambda: reloads(gate)[broken] > before)
                serving = json.loads(gate.get("/generation").body)["message"]
                assert serving == f"generation-{done - 1 if broken else done}", f"after reload {done}"
                if broken:
                    # Counted first, then said.
                    place = f"{gate.config.name}:{line}" if line else f"{gate.config.name}:"
                    said = lambda: gate.log()[logged:]
                    until(f"the log says {place} and {word!r}", lambda: place in said() and word in said())
            failed, out = load.result()
            if failed:
                failures.append(out)
    assert not failures, "\n".join(failures)
    assert reloads(gate) == (1 + (RELOADS + 1) // 2, RELOADS // 2)
    assert pathlib.Path(f"/proc/{gate.process.pid}").exists()
