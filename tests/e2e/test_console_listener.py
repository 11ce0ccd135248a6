"""The console's listener: what protects it, and what it takes to open it further."""

import os
import socket
import ssl
import subprocess
import urllib.request

import pytest

from conftest import BIN, fetch, free_port


def refused_start(tmp_path, **settings):
    """What the gateway says when it does not start."""
    env = dict(os.environ, PORTCULLIS_PREFIX=str(tmp_path), **{f"PORTCULLIS_{name}": "127.0.0.1:0" for name in ("PROXY_LISTEN", "ADMIN_LISTEN", "STATUS_LISTEN")})
    env.update({f"PORTCULLIS_{name.upper()}": value for name, value in settings.items()})
    ended = subprocess.run([BIN, "run"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0
    return ended.stdout + ended.stderr


def test_beyond_loopback_it_needs_a_token(tmp_path):
    said = refused_start(tmp_path, admin_gui_listen=f"0.0.0.0:{free_port()}")
    assert "admin_gui_listen" in said and "admin_token" in said


def test_an_address_that_was_asked_for_must_be_free(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = refused_start(tmp_path, admin_gui_listen=f"127.0.0.1:{taken.getsockname()[1]}")
    assert "admin_gui_listen" in said and "in use" in said


def test_what_a_browser_is_told(gateway):
    base = f"http://127.0.0.1:{gateway().console}"
    for path in ("/", "/app.js", "/app.css", "/icon.svg", "/api/consumers", "/nothing"):
        headers = fetch(base + path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';") and "unsafe" not in policy, path
        assert "frame-ancestors 'none'" in policy and headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert headers["Access-Control-Allow-Origin"] is None
    total = sum(len(urllib.request.urlopen(urllib.request.Request(base + path, headers={"Accept-Encoding": "gzip"})).read()) for path in ("/", "/app.js", "/app.css", "/icon.svg"))
    assert total < 150_000, total


@pytest.mark.parametrize("method, headers, status", [
    ("GET", {}, 200),
    ("GET", {"Sec-Fetch-Site": "same-origin"}, 200),
    ("GET", {"Sec-Fetch-Site": "cross-site"}, 403),
    ("GET", {"Sec-Fetch-Site": "same-site"}, 403),
    ("GET", {"Host": "evil.example"}, 403),
    ("DELETE", {"Origin": "http://evil.example"}, 403),
])
def test_other_pages_do_not_reach_the_admin_api(gateway, method, headers, status):
    gate = gateway()
    assert fetch(f"http://127.0.0.1:{gate.console}/api/consumers/nobody" if method == "DELETE" else f"http://127.0.0.1:{gate.console}/api/consumers", headers, method).status == status


def test_the_token_is_asked_for_behind_the_page(gateway):
    gate = gateway(env={"PORTCULLIS_ADMIN_TOKEN": "open-sesame"})
    base = f"http://127.0.0.1:{gate.console}"
    assert fetch(base + "/").status == 200
    assert fetch(base + "/api/consumers").status == 401
    assert fetch(base + "/api/consumers", {"Kong-Admin-Token": "open-sesame"}).status == 200


def test_over_tls_and_without_an_admin_listener(gateway):
    port = free_port()
    gateway(env={"PORTCULLIS_ADMIN_GUI_LISTEN": f"127.0.0.1:{port} ssl", "PORTCULLIS_ADMIN_LISTEN": "off"})
    trusting = ssl._create_unverified_context()
    assert b"Portcullis" in urllib.request.urlopen(f"https://127.0.0.1:{port}/", context=trusting).read()
    assert b"data" in urllib.request.urlopen(f"https://127.0.0.1:{port}/api/consumers", context=trusting).read()
