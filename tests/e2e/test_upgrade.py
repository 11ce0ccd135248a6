"""Twenty hand-overs of the listening sockets to a new process while wrk sends all it can: nothing fails."""

import os
import shutil
import signal
import subprocess
import time

import jwt
import pytest

from conftest import BIN
from test_reload import GOOD, SECRET, Load, put, until

UPGRADES = int(os.environ.get("E2E_UPGRADES", "20"))


def hand_over(gate):
    """What the operator does: start the new process, tell the old one to quit, wait for its end."""
    old = gate.process
    new = subprocess.Popen(
        [BIN, "run", "--upgrade"], env=gate.env, cwd=gate.folder, stdout=gate.log_file.open("ab"), stderr=subprocess.STDOUT
    )
    gate.process = new  # the fixture stops what is there last
    try:
        old.send_signal(signal.SIGQUIT)
        old.wait(60)
    except BaseException:
        old.kill()
        old.wait()
        raise
    assert old.returncode == 0, gate.log()[-3000:]
    assert new.poll() is None, gate.log()[-3000:]


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_twenty_hand_overs_under_load(gateway, service, tmp_path):
    config = lambda generation: GOOD.format(service=service, generation=generation, secret=SECRET)
    gate = gateway(config(0), env={"PORTCULLIS_PROXY_ACCESS_LOG": "off"})
    token = jwt.encode({"iss": "alice", "exp": int(time.time()) + 3600}, SECRET, algorithm="HS256")

    done, failures = 0, []
    while done < UPGRADES:
        with Load(gate, tmp_path, "/healthy", token, 10) as load:
            while done < UPGRADES and load.running():
                done += 1
                put(gate.config, config(done))
                hand_over(gate)
                until(f"process {done} serves its file", lambda: f"generation-{done}" in gate.get("/generation").body)
            failed, out = load.result()
            if failed:
                failures.append(out)
    assert not failures, "\n".join(failures)
