"""docs/from-kong.md, done: its report is what `portcullis check` prints, and the way it describes leads to a gateway that serves.
BLESS=1 writes the report into the page."""

import json
import os
import re
import subprocess

from conftest import BIN, ROOT, fetch

PAGE, EXAMPLE = ROOT / "docs/from-kong.md", ROOT / "docs/from-kong/kong.yml"
BLOCK = re.compile(r"(<!-- report -->\n```text\n).*?(```\n)", re.DOTALL)


def run(*arguments, code=0, env=None):
    done = subprocess.run([BIN, *arguments], cwd=ROOT / "docs/from-kong", env={**os.environ, **(env or {})}, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_the_report_is_the_one_in_the_page():
    said = run("check", "kong.yml", code=1)
    report = said.stderr[said.stderr.index("migration report"):]
    page = PAGE.read_text()
    if os.environ.get("BLESS"):
        PAGE.write_text(BLOCK.sub(lambda found: found[1] + report + found[2], page))
        return
    assert BLOCK.search(page)[0] == f"<!-- report -->\n```text\n{report}```\n"
    told = json.loads(run("check", "--json", "kong.yml", code=1).stdout)["migration"]
    assert set(told["guards"]) == {"acl", "basic-auth", "rate-limiting"}
    assert set(told["plugins"]) == {"correlation-id", "file-log", "prometheus"}
    assert set(told["entities"]) == {"acls", "basicauth_credentials", "consumer_groups"}
    assert told["guards"]["acl"] == ["kong.yml:18:7"] and told["unserved_routes"] == ["orders-grpc"]


def test_a_file_of_which_everything_moves_has_no_report(tmp_path):
    file = tmp_path / "kong.yml"
    file.write_text("_format_version: '3.0'\nconsumers: [{username: alice}]\n")
    said = run("check", str(file))
    assert "migration report" not in said.stdout + said.stderr
    assert json.loads(run("check", "--json", str(file)).stdout)["migration"] is None


def test_what_is_left_is_served(gateway, tmp_path):
    env = {"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db", "PORTCULLIS_PREFIX": str(tmp_path)}
    said = run("config", "import", "--ignore-unsupported", "kong.yml", env=env)
    assert "created" in said.stdout
    running = gateway(env=env)
    services = json.loads(fetch(running.admin_url("/services")).body)["data"]
    assert {service["name"] for service in services} == {"orders", "legacy"}
    # The guard that moved guards; that of /legacy did not move, which the report says in so many words.
    assert running.get("/orders").status == 401
    assert running.get("/legacy").status in (502, 503, 504), "nothing refuses, and the service of the example is not there"
