"""The alert rules and the dashboard speak of metrics that a gateway really has; promtool accepts the rules and their tests."""

import json
import re
import subprocess
import time

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import datetime
import http.server
import threading

from conftest import ROOT, fetch

ALERTS = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD = ROOT / "deploy/grafana/portcullis.json"
SECRET = "monitored-secret-of-more-than-32-bytes!"
# Words of the query language and labels, which look like metrics to a simple reader.
NAME = re.compile(r"\b((?:portcullis|kong|process)_[a-z0-9_]+)\b")


def expressions():
    """Every expression of the dashboard and of the rules."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]
    import yaml

    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
            for text in rule["annotations"].values():
                yield rule["alert"], text


@pytest.fixture(scope="module")
def issuer():
    """A provider that only has a document and one key."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            key = {"kty": "EC", "crv": "P-256", "kid": "one", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                   "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}
            body = {"keys": [key]} if self.path.endswith("/jwks") else {"issuer": base, "jwks_uri": base + "/jwks"}
            text = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    base = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield base
    server.shutdown()


def certificate(name, days):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days)).sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(pem).decode(), private.decode(), made.not_valid_after_utc.timestamp()


def test_rules_are_accepted_and_fire_when_they_should():
    for command in (["check", "rules", str(ALERTS)], ["test", "rules", str(ALERTS.with_name("alerts_test.yml"))]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_named_is_in_a_real_scrape(gateway, service, issuer):
    cert, key, not_after = certificate("a.example", 9)
    config = {
        "_format_version": "3.0",
        "certificates": [{"cert": cert, "key": key, "snis": [{"name": "a.example"}]}],
        "services": [{"name": "s", "url": f"http://127.0.0.1:{service}", "routes": [
            {"name": "jwt", "paths": ["/jwt"], "plugins": [{"name": "jwt", "config": {"claims_to_verify": ["exp"]}}]},
            {"name": "guest", "paths": ["/guest"], "plugins": [{"name": "jwt", "config": {"anonymous": "guest"}}]},
            {"name": "oidc", "paths": ["/oidc"], "plugins": [{"name": "openid-connect", "config": {"issuer": issuer, "auth_methods": ["bearer"]}}]},
        ]}],
        "consumers": [
            {"username": "alice", "jwt_secrets": [{"key": "alice", "secret": SECRET}], "keyauth_credentials": [{"key": "k", "ttl": 86400}]},
            {"username": "guest"},
        ],
    }
    one = gateway(json.dumps(config))
    now = int(time.time())
    good = jwt.encode({"iss": "alice", "exp": now + 60}, SECRET, "HS256")
    bad = jwt.encode({"iss": "alice", "exp": now - 60}, SECRET, "HS256")
    assert one.get("/jwt", good).status == 200
    assert one.get("/jwt", bad).status == 401
    assert one.get("/guest").status == 200
    assert one.get("/nowhere").status == 404
    stranger = jwt.encode({"iss": issuer, "exp": now + 60}, ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": "none"})
    assert one.get("/oidc", stranger).status == 401
    time.sleep(0.5)
    scrape = fetch(f"http://127.0.0.1:{one.status}/metrics").body
    there = {line.split("{")[0].split(" ")[0] for line in scrape.splitlines() if line and not line.startswith("#")}
    declared = {line.split(" ")[2] for line in scrape.splitlines() if line.startswith("# TYPE")}
    known = there | declared
    # Only where there is a database.
    known.add("portcullis_store_revision")
    missing = {(where, name) for where, text in expressions() for name in NAME.findall(text) if name not in known}
    assert not missing, missing

    # What the alerts compare is right, too.
    value = lambda start: [float(line.split(" ")[-1]) for line in scrape.splitlines() if line.startswith(start)]
    assert value('portcullis_certificate_expiry_timestamp_seconds{name="a.example"') == [not_after]
    assert abs(value("portcullis_credential_expiry_timestamp_seconds")[0] - now - 86400) < 60
    assert value("portcullis_config_last_reload_successful") == [1]
    assert value("portcullis_oidc_keys") == [1]

    # The same file on another gateway has the same fingerprint; another file has another, and a broken one says so.
    two = gateway(one.config.read_text())
    shown = lambda it, name: [line for line in fetch(f"http://127.0.0.1:{it.status}/metrics").body.splitlines() if line.startswith(name)]
    assert shown(one, "portcullis_snapshot_fingerprint") == shown(two, "portcullis_snapshot_fingerprint")
    two.config.write_text(one.config.read_text().replace("guest", "visitor"))
    two.process.send_signal(1)
    deadline = time.time() + 20
    while shown(one, "portcullis_snapshot_fingerprint") == shown(two, "portcullis_snapshot_fingerprint") and time.time() < deadline:
        time.sleep(0.1)
    assert shown(one, "portcullis_snapshot_fingerprint") != shown(two, "portcullis_snapshot_fingerprint")
    live = lambda: json.loads(fetch(two.admin_url("/live/configuration")).body)
    deadline = time.time() + 20
    while (live()["difference"] or {"pending": True})["pending"] and time.time() < deadline:
        time.sleep(0.1)
    kinds = {kind["kind"]: kind for kind in live()["difference"]["kinds"]}
    assert kinds["consumers"]["names"]["added"] == ["visitor"] and kinds["consumers"]["names"]["removed"] == ["guest"], kinds
    two.config.write_text("nonsense: [")
    two.process.send_signal(1)
    deadline = time.time() + 20
    while "portcullis_config_last_reload_successful 0" not in shown(two, "portcullis_config_last_reload_successful") and time.time() < deadline:
        time.sleep(0.1)
    assert shown(two, "portcullis_config_last_reload_successful") == ["portcullis_config_last_reload_successful 0"]
    failure = live()["last_failure"]
    assert not failure["success"] and failure["diagnostics"][0]["place"]["line"] == 1, failure
    assert live()["generation"] == 2
