"""`portcullis migrations` and `portcullis config`, and a start on a database of another version."""

import contextlib
import json
import os
import sqlite3
import subprocess
import time

import pytest
import yaml
from conftest import BIN, fetch

STATE = """
_format_version: "3.0"
services:
- name: echo
  url: http://127.0.0.1:{service}/anything
  tags: [one, two]
  routes:
  - name: echo
    paths: [/echo]
    plugins:
    - name: jwt
      config: {{claims_to_verify: [exp]}}
consumers:
- username: alice
  custom_id: a-7
  jwt_secrets: [{{key: k1, algorithm: HS256, secret: 0123456789abcdef0123456789abcdef}}]
  keyauth_credentials: [{{key: api-key}}]
"""


class Tool:
    def __init__(self, folder):
        self.folder = folder
        self.database = folder / "store.db"
        self.env = {**os.environ, "PORTCULLIS_DATABASE": f"sqlite:{self.database}", "PORTCULLIS_PREFIX": str(folder)}

    def __call__(self, *arguments, code=0):
        done = subprocess.run([BIN, *arguments], env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def told(self, *arguments):
        """What it says on its way out with a fault."""
        done = subprocess.run([BIN, *arguments], env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stdout + done.stderr

    def file(self, name, text):
        (self.folder / name).write_text(text)
        return str(self.folder / name)


@pytest.fixture
def tool(tmp_path):
    return Tool(tmp_path)


def test_migrations(tool):
    assert "unable to open" in tool.told("migrations", "status")
    assert not tool.database.exists()
    assert "up to date" in tool("migrations", "up")
    assert "applied" in tool("migrations", "status") and "missing" not in tool("migrations", "status")
    assert "up to date" in tool("migrations", "up")
    assert tool.database.stat().st_mode & 0o077 == 0, "the file holds secrets"


def test_a_newer_database_is_not_touched(tool):
    tool("config", "import", tool.file("kong.yml", STATE.format(service=9)))
    with contextlib.closing(sqlite3.connect(tool.database)) as database, database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(_sqlx_migrations)")]
        values = {"version": 99990101000000, "description": "of tomorrow", "success": True, "checksum": b"x", "execution_time": 1}
        names = [name for name in columns if name in values]
        marks = ", ".join("?" for _ in names)
        database.execute(f"INSERT INTO _sqlx_migrations ({', '.join(names)}) VALUES ({marks})", [values[name] for name in names])
    before = tool.database.read_bytes()
    for command in (["run"], ["migrations", "up"], ["config", "export"], ["config", "import", str(tool.folder / "kong.yml")]):
        said = tool.told(*command)
        assert "newer version of portcullis" in said and "99990101000000" in said, said
    assert "of tomorrow (unknown to this program)" in tool("migrations", "status")
    assert tool.database.read_bytes() == before


def test_a_file_goes_in_and_comes_out(tool, gateway, service, tmp_path):
    file = tool.file("kong.yml", STATE.format(service=service))
    assert "+ services echo" in tool("config", "diff", file, code=1)
    first = json.loads(tool("config", "import", file, "--json"))
    assert (first["created"], first["replaced"], first["unchanged"]) == (6, 0, 0)
    again = json.loads(tool("config", "import", file, "--json"))
    assert (again["created"], again["replaced"], again["unchanged"], again["revision"]) == (0, 0, 6, first["revision"])
    assert tool("config", "diff", file) == ""
    exported = tool("config", "export")
    out = tool.file("out.yml", exported)
    tool("check", out)
    assert tool("config", "diff", out) == "", "what comes out is what went in"
    assert yaml.safe_load(exported)["_format_version"] == "3.0"
    # Another database filled from the export holds the same.
    other = Tool(tmp_path / "other")
    other.folder.mkdir()
    other("config", "import", out)
    assert other("config", "diff", file) == ""
    changed = tool.file("changed.yml", STATE.format(service=service).replace("custom_id: a-7", "custom_id: a-8").replace("/echo]", "/other]"))
    said = tool("config", "diff", changed, code=1)
    assert "~ consumers alice: custom_id" in said and "~ routes echo: paths" in said
    differences = json.loads(tool("config", "diff", changed, "--json", code=1))
    assert {(one["change"], one["collection"]) for one in differences} == {("changed", "consumers"), ("changed", "routes")}
    assert "0123456789abcdef" not in json.dumps(differences) + said
    # Served as imported, and an import beside a running gateway is served.
    running = gateway(env={"PORTCULLIS_DATABASE": f"sqlite:{tool.database}"})
    assert running.get("/echo").status == 401
    tool("config", "import", changed)
    for _ in range(50):
        if running.get("/other").status == 401:
            break
        time.sleep(0.1)
    assert (running.get("/other").status, running.get("/echo").status) == (401, 404)


def test_an_import_is_all_or_nothing(tool):
    tool("config", "import", tool.file("kong.yml", STATE.format(service=9)))
    before = tool("config", "export")
    text = "_format_version: '3.0'\nconsumers: [{username: bob}, {username: carol, id: 00000000-0000-4000-8000-000000000001, custom_id: a-7}]\n"
    said = tool.told("config", "import", tool.file("clash.yml", text))
    assert "consumers" in said and "custom_id" in said, said
    assert "acl" in tool.told("config", "import", tool.file("acl.yml", "_format_version: '3.0'\nconsumers: [{username: dave}]\nplugins: [{name: acl}]\n"))
    assert tool("config", "export") == before


def test_references_stay_references(tool, gateway):
    text = "_format_version: '3.0'\nconsumers: [{username: bob}]\n"
    tool("config", "import", tool.file("kong.yml", text))
    running = gateway(env={"PORTCULLIS_DATABASE": f"sqlite:{tool.database}", "IDP_SECRET": "only-at-run-time"})
    body = {"name": "openid-connect", "config": {"issuer": "http://127.0.0.1:9/", "client_id": ["c"], "client_secret": ["{vault://env/idp-secret}"]}}
    made = fetch(running.admin_url("/plugins"), {"Content-Type": "application/json"}, "POST", json.dumps(body).encode())
    assert made.status == 201, made
    exported = tool("config", "export")
    assert "{vault://env/idp-secret}" in exported and "only-at-run-time" not in exported + made.body
