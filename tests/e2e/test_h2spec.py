"""The HTTP/2 conformance suite h2spec, where it is at hand or a Go toolchain can build it."""

import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT, free_port

CONFIG = """
_format_version: "3.0"
routes:
- name: all
  paths: [/]
  plugins:
  - name: request-termination
    config: {status_code: 200, message: hello}
"""
# Over a port that speaks HTTP/1.1 as well, an invalid preface is an HTTP/1.1 request: it gets an answer, and then the connection is closed.
SHARED_PORT = {"Sends invalid connection preface"}


@pytest.fixture(scope="module")
def h2spec():
    found = shutil.which("h2spec")
    if not found and shutil.which("go"):
        folder = ROOT / "target/e2e/go"
        found = str(folder / "h2spec")
        if not os.path.exists(found):
            environment = dict(os.environ, GOBIN=str(folder), GOFLAGS="-mod=mod")
            subprocess.run(["go", "install", "github.com/summerwind/h2spec/cmd/h2spec@latest"], env=environment, check=True)
    if not found:
        pytest.skip("neither h2spec nor Go is here")
    return found


@pytest.mark.parametrize("tls", [True, False])
def test_conformance(tls, gateway, h2spec):
    plain = free_port()
    gate = gateway(CONFIG, env={} if tls else {"PORTCULLIS_PROXY_LISTEN": f"127.0.0.1:{plain} http2"})
    flags = ["-t", "-k", "-p", str(gate.https)] if tls else ["-p", str(plain)]
    done = subprocess.run([h2spec, "-h", "127.0.0.1", "-o", "5", *flags], capture_output=True, text=True)
    tests, failed = (int(number) for number in re.search(r"(\d+) tests, \d+ passed, \d+ skipped, (\d+) failed", done.stdout).groups())
    assert tests >= 140, done.stdout
    broken = set(re.findall(r"× \d+: (.*)", done.stdout))
    assert broken <= (set() if tls else SHARED_PORT) and failed == len(broken), done.stdout
