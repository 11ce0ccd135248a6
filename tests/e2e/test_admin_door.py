"""The protection of the Admin API, from outside: who is let in, from where, with how much, and what is written down of it."""

import datetime
import http.client
import json
import socket
import ssl
import urllib.error
import urllib.request

import pytest
from conftest import fetch, free_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

JSON = {"Content-Type": "application/json"}
TOKEN = "a-token-of-the-operators"


def send(url, method="GET", body=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else json.dumps(body).encode()
    return fetch(url, {**(JSON if data else {}), **headers}, method, data)


@pytest.fixture
def running(gateway, tmp_path):
    return gateway(env={"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db", "PORTCULLIS_ADMIN_HOSTS": "admin.example",
                        "PORTCULLIS_ADMIN_MAX_BODY_SIZE": "10k", "PORTCULLIS_LOG_LEVEL": "info"})


def test_names_of_others_are_refused(running):
    url = running.admin_url("/consumers")
    for host, status in [("localhost", 200), (f"127.0.0.1:{running.admin}", 200), ("admin.example", 200), ("gateway", 200),
                         ("rebound.example", 403), ("127.0.0.1.rebound.example", 403)]:
        assert send(url, Host=host).status == status, host
        assert send(url, "POST", {"username": host}, Host=host).status == (201 if status == 200 else 403), host


def test_pages_of_others_do_not_write(running, gateway, tmp_path):
    url = running.admin_url("/consumers")
    for method, body in [("POST", {"username": "x"}), ("PUT", {}), ("PATCH", {}), ("DELETE", None)]:
        path = url if method == "POST" else f"{url}/x"
        assert send(path, method, body, Origin="https://evil.example").status == 403, method
    assert send(url, Origin="https://evil.example", Sec_Fetch_Site="cross-site").status == 403
    # A form of somebody else's page needs no preflight, but has an origin.
    form = fetch(url, {"Content-Type": "application/x-www-form-urlencoded", "Origin": "null"}, "POST", b"username=x")
    assert form.status == 403
    assert fetch(url, {"Content-Type": "text/plain", "Origin": f"http://127.0.0.1:{running.admin}"}, "POST", b"{}").status == 415
    assert json.loads(send(url).body)["data"] == []
    allowed = gateway(env={"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/other.db", "PORTCULLIS_ADMIN_GUI_URL": "https://manager.example:8445"})
    url = allowed.admin_url("/consumers")
    answer = send(url, "POST", {"username": "x"}, Origin="https://manager.example:8445")
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (201, "https://manager.example:8445")
    preflight = send(url, "OPTIONS", Origin="https://manager.example:8445", Access_Control_Request_Headers="Kong-Admin-Token")
    assert (preflight.status, preflight.headers["Access-Control-Allow-Headers"]) == (204, "Kong-Admin-Token")
    assert send(url, "POST", {"username": "y"}, Origin="https://evil.example").status == 403


def test_bodies_are_bounded(running):
    url = running.admin_url("/consumers")
    assert send(url, "POST", {"username": "x" * 9000}).status == 201
    assert send(url, "POST", {"username": "x" * 11000}).status == 413
    # Without a length the bound holds as well.
    with socket.create_connection(("127.0.0.1", running.admin), 10) as stream:
        stream.sendall(b"POST /consumers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        stream.sendall(b"1000\r\n" + b" " * 4096 + b"\r\n" + b"2000\r\n" + b" " * 8192 + b"\r\n")
        assert stream.recv(4096).startswith(b"HTTP/1.1 413 ")
    many = "&".join(f"a{n}=1" for n in range(1001)).encode()
    assert len(many) < 10240
    answer = fetch(url, {"Content-Type": "application/x-www-form-urlencoded"}, "POST", many)
    assert (answer.status, json.loads(answer.body)["message"]) == (400, "Too many arguments")


def test_every_write_is_written_down(running):
    secret = "not-for-the-log-0123456789abcdef"
    made = json.loads(send(running.admin_url("/consumers"), "POST", {"username": "alice"}).body)
    send(running.admin_url(f"/consumers/alice/jwt/{secret}"), "PUT", {"secret": secret})
    send(running.admin_url(f"/consumers/alice/key-auth?key={secret}"), "POST", {})
    send(running.admin_url("/consumers"), "POST", {"username": "alice"})
    send(running.admin_url("/consumers/alice"), "DELETE")
    lines = [line for line in running.log().splitlines() if "Admin API write" in line]
    assert len(lines) == 5, running.log()
    assert made["id"] in lines[0] and "POST" in lines[0] and "revision=1" in lines[0] and "127.0.0.1" in lines[0]
    assert "409" in lines[3] and "DELETE" in lines[4]
    assert secret not in running.log()


def test_the_token(gateway, tmp_path):
    port = free_port()
    env = {"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db", "PORTCULLIS_ADMIN_LISTEN": f"0.0.0.0:{port}"}
    with pytest.raises(AssertionError, match="admin_token"):
        gateway(env=env)
    shut = gateway(env=dict(env, PORTCULLIS_ADMIN_TOKEN=TOKEN))
    url = f"http://127.0.0.1:{port}/consumers"
    for headers, status in [({}, 401), ({"Kong-Admin-Token": TOKEN[:-1]}, 401), ({"Kong-Admin-Token": TOKEN + "x"}, 401),
                            ({"Authorization": f"Bearer {TOKEN}"}, 200), ({"Kong-Admin-Token": TOKEN}, 200)]:
        assert fetch(url, headers).status == status, headers
    assert fetch(url, {"Kong-Admin-Token": TOKEN, "Host": "anything.example"}).status == 200
    assert fetch(url, {}, "OPTIONS").status == 204
    assert TOKEN not in shut.log() and TOKEN not in fetch(f"http://127.0.0.1:{port}/", {"Kong-Admin-Token": TOKEN}).body


class Authority:
    """A certificate authority, and what it issues."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self.sign(name, self.key.public_key(), ca=True)
        self.file = self.write(f"{name}.pem", self.certificate.public_bytes(serialization.Encoding.PEM))

    def write(self, name, data):
        (self.folder / name).write_bytes(data)
        return self.folder / name

    def sign(self, subject, public_key, ca=False):
        named = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named(self.name)).public_key(public_key)
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name):
        key = ec.generate_private_key(ec.SECP256R1())
        pem = serialization.PrivateFormat.PKCS8
        return (
            self.write(f"{name}-cert.pem", self.sign(name, key.public_key()).public_bytes(serialization.Encoding.PEM)),
            self.write(f"{name}-key.pem", key.private_bytes(serialization.Encoding.PEM, pem, serialization.NoEncryption())),
        )


def test_client_certificates(gateway, tmp_path):
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    server, port = ours.issue("server"), free_port()
    env = {
        "PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db", "PORTCULLIS_ADMIN_LISTEN": f"0.0.0.0:{port} ssl", "PORTCULLIS_LOG_LEVEL": "info",
        "PORTCULLIS_ADMIN_SSL_CERT": str(server[0]), "PORTCULLIS_ADMIN_SSL_CERT_KEY": str(server[1]),
        "PORTCULLIS_ADMIN_SSL_CLIENT_CA": str(ours.file),
    }
    running = gateway(env=env)

    def ask(pair, method="GET", body=None):
        context = ssl.create_default_context(cafile=str(ours.file))
        if pair:
            context.load_cert_chain(*map(str, pair))
        request = urllib.request.Request(f"https://localhost:{port}/consumers", body, JSON if body else {}, method=method)
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return answer.status

    operator = ours.issue("operator")
    assert ask(operator) == 200
    assert ask(operator, "POST", b'{"username": "x"}') == 201
    assert "CN=operator" in running.log()
    for pair in (None, theirs.issue("stranger")):
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(pair)
    with pytest.raises((OSError, http.client.HTTPException)):
        fetch(f"http://localhost:{port}/consumers")
    running.stop()
    # With a token as well, clients without a certificate may use that.
    gateway(env=dict(env, PORTCULLIS_ADMIN_TOKEN=TOKEN))
    assert ask(operator) == 200
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(None)
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(theirs.issue("other"))


def test_certificates_that_are_kept_elsewhere(gateway, tmp_path):
    authority = Authority(tmp_path, "ca")
    cert, key = authority.issue("stored")
    env = {"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db", "EDGE_CERT": cert.read_text(), "EDGE_KEY": key.read_text()}
    running = gateway(env=env)
    body = {"cert": "{vault://env/edge-cert}", "key": "{vault://env/edge-key}", "snis": ["localhost"]}
    made = send(running.admin_url("/certificates"), "POST", body)
    assert made.status == 201, made
    stored = json.loads(send(running.admin_url(f"/certificates/{json.loads(made.body)['id']}")).body)
    assert (stored["cert"], stored["key"]) == (body["cert"], body["key"])
    context = ssl.create_default_context(cafile=str(authority.file))
    with socket.create_connection(("127.0.0.1", running.https), 10) as stream, context.wrap_socket(stream, server_hostname="localhost") as tls:
        assert dict(part[0] for part in tls.getpeercert()["subject"])["commonName"] == "stored"
    refused = send(running.admin_url("/certificates"), "POST", {**body, "key": "{vault://env/nowhere}", "snis": []})
    assert refused.status == 400, refused
    assert "BEGIN" not in running.log()
