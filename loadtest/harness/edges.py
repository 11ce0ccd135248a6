"""The edges of the ordinary request: a connection for each, TLS handshakes, 100 streams on a connection, large bodies."""

import contextlib
import datetime
import re
import ssl
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from . import verdicts
from .processes import LOAD, SUBJECT, free_port, pinned
from .proxies import Gateway, lua, service, start_floor, start_haproxy
from .slices import Target, complete, connect, request, started

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# One body. Streamed, so it is far larger than what a proxy could keep in buffers without notice.
BODY = 64 * 2**20
# What comes up is read to its end before the answer: an answer that comes early would end the upload.
BODIES = """
    client_max_body_size 0;
    location /open/down {{ root {folder}; }}
    location /open/up {{ content_by_lua_block {{
      local body, left = ngx.req.socket(), tonumber(ngx.var.http_content_length)
      while left > 0 do
        local part = assert(body:receiveany(math.min(left, 262144)))
        left = left - #part
      end
      ngx.header["Content-Length"] = 3
      ngx.print("ok\\n")
    }} }}
"""


def certificate(folder):
    """A self-signed certificate with its key (P-256), in one file, in two for the gateway."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "bench.test")])
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("bench.test")]), False).sign(key, hashes.SHA256()))
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in [("cert.pem", pem), ("key.pem", private), ("both.pem", pem + private)]:
        (folder / name).write_bytes(data)
    return folder / "cert.pem", folder / "key.pem", folder / "both.pem"


class Own(Target):
    """What the driver does not do: requests that are sent and read here."""

    sockets = ()

    def due(self, answer):
        if answer[9:12] != b"%d" % self.status:
            raise RuntimeError(f"{self.name}: {answer[:200]!r} in place of {self.status}")

    def close(self):
        for one in self.sockets:
            one.close()
        self.sockets = ()


class Short(Own):
    """A connection for each request, which the proxy closes."""

    length, lead = 64, 4

    def __init__(self, name, proxy, path, token=None):
        super().__init__(name, proxy, path, [token])
        self.requests, self.warm = [request(path, token, "Connection: close\r\n")], 50

    def run(self, rounds):
        for _ in range(rounds):
            with self.open() as one:
                one.sendall(self.requests[0])
                answer = b""
                # To the end, so that the proxy has done all it does for a connection.
                while part := one.recv(65536):
                    answer += part
                self.due(answer)
                self.after(one)
        return rounds

    def open(self):
        return connect(self.port)

    def after(self, _):
        pass


class Tls(Short):
    """The same over TLS: a full handshake each time, or one that resumes the session of the first connection."""

    def __init__(self, name, proxy, port, version, resumed):
        super().__init__(name, proxy, "/open")
        self.port, self.resumed, self.session, self.reused, self.full = port, resumed, None, 0, 0
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.context.minimum_version = self.context.maximum_version = VERSIONS[version]
        # The proxy may close without the alert that ends TLS.
        self.context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF

    def open(self):
        return self.context.wrap_socket(connect(self.port), server_hostname="bench.test", session=self.session if self.resumed else None)

    def after(self, one):
        if one.session_reused:
            self.reused += 1
        else:
            self.full += 1
        if self.resumed:
            # A ticket of TLS 1.3 is for one use.
            self.session = one.session or self.session


class Streams(Own):
    """By h2load: 100 requests at a time on each of four HTTP/2 connections, or one at a time on each of 32 of HTTP/1.1."""

    length, lead, requests_a_round = 12, 0, 500

    def __init__(self, name, proxy, port, path, token, how=("-c4", "-m100")):
        super().__init__(name, proxy, path, [token])
        self.warm, self.command = 2, ["h2load", "-t1", *how, "-H", f"authorization: Bearer {token}", f"http://127.0.0.1:{port}{path}", "-n"]

    def run(self, rounds):
        count = rounds * self.requests_a_round
        if count:
            ran = subprocess.run(pinned([*self.command, str(count)], LOAD), capture_output=True, text=True, timeout=120)
            if not re.search(rf"status codes: {count} 2xx", ran.stdout):
                raise RuntimeError(f"{self.name}: {ran.stdout[-1500:]}{ran.stderr[-500:]}")
        return count


class Body(Own):
    """Large bodies on a kept connection; µs a MiB."""

    length, lead = 1, 0

    def __init__(self, name, proxy, up):
        super().__init__(name, proxy, "/open/down/body", [None])
        self.up, self.warm, self.room = up, 1, memoryview(bytearray(2**20))
        if up:
            self.requests = [request("/open/up", None, f"Content-Length: {BODY}\r\n")]

    def run(self, rounds):
        if not self.sockets:
            self.sockets = [connect(self.port)]
        one = self.sockets[0]
        for _ in range(rounds):
            one.sendall(self.requests[0])
            if self.up:
                for _ in range(BODY // len(self.room)):
                    one.sendall(self.room)
            answer = b""
            while b"\r\n\r\n" not in answer:
                part = one.recv(65536)
                if not part:
                    raise RuntimeError(f"{self.name}: closed")
                answer += part
            self.due(answer)
            if self.up:
                while not complete(answer):
                    answer += one.recv(65536)
                continue
            left = BODY - (len(answer) - answer.index(b"\r\n\r\n") - 4)
            while left:
                got = one.recv_into(self.room[:min(left, len(self.room))])
                if not got:
                    raise RuntimeError(f"{self.name}: {left} bytes missing")
                left -= got
        return rounds * BODY // 2**20


class Edges:
    def __init__(self, material, folder, rounds, starts, say):
        self.material, self.folder, self.rounds, self.starts, self.say = material, folder / "edges", rounds, starts, say
        self.pem = certificate(self.folder)
        (self.folder / "open/down").mkdir(parents=True, exist_ok=True)
        (self.folder / "open/down/body").write_bytes(bytes(BODY))

    def slices(self, targets_of, starts=None, rounds=None):
        """Slices of what `targets_of(gateway, floor, haproxy, ports)` names, and the targets of the last start."""

        @contextlib.contextmanager
        def opened(number):
            folder, (tls, h2, peer_tls, peer_h2) = self.folder / f"{number}", (free_port() for _ in range(4))
            cert, key, both = self.pem
            binds = f"bind 127.0.0.1:{peer_tls} ssl crt {both}\n    bind 127.0.0.1:{peer_h2} proto h2"
            with service(folder, more=BODIES.format(folder=self.folder), modules=lua()) as upstream, \
                    Gateway(self.material.kong(upstream.port), folder, SUBJECT, 1, also=[f"127.0.0.1:{tls} ssl", f"127.0.0.1:{h2} http2"],
                            ssl_cert=cert, ssl_cert_key=key).ready() as gateway, \
                    start_floor(False, upstream.port, folder) as floor, \
                    start_haproxy(self.material, "none", upstream.port, folder, binds) as haproxy:
                self.targets = targets_of(gateway, floor, haproxy, {gateway: (tls, h2), haproxy: (peer_tls, peer_h2)})
                yield [self.targets]

        return started(opened, starts or self.starts, rounds or self.rounds, self.say)

    def parts(self):
        return [self.handshakes, self.streams, self.bodies]

    def handshakes(self):
        kinds = [(version, resumed) for version in VERSIONS for resumed in (False, True)]

        def targets(gateway, floor, haproxy, ports):
            return [
                *(Short(f"plain {proxy.name}", proxy, "/open") for proxy in (gateway, floor, haproxy)),
                *(Tls(f"{version} {'resumed' if resumed else 'full'} {proxy.name}", proxy, ports[proxy][0], version, resumed)
                  for proxy in (gateway, haproxy) for version, resumed in kinds),
            ]

        s = self.slices(targets)
        how = f"slices of 64 connections in turns, {self.starts} starts; CPU of the proxy"
        figure = "{:.0f} µs, {:.2f} ± {:.2f} × bare Pingora, {:.2f} ± {:.2f} × HAProxy".format(
            s.median("plain portcullis"), *s.ratio("plain portcullis", "plain floor"), *s.ratio("plain portcullis", "plain haproxy"))
        yield verdicts.stated("a connection for each request, plain", figure, how)
        tls = {target.name: target for target in self.targets if isinstance(target, Tls)}
        for version, resumed in kinds:
            kind = f"{version} {'resumed' if resumed else 'full'}"
            costs = {who: s.difference(f"{kind} {who}", f"plain {who}") for who in ("portcullis", "haproxy")}
            # As many as one CPU can do, connection and request included.
            rate = {who: 1e6 / s.value(f"{kind} {who}")[0] for who in costs}
            figure = ", ".join(f"{'gateway' if who == 'portcullis' else 'HAProxy'} {us:.0f} ± {error:.0f} µs, {rate[who]:.0f} connections/s of one CPU"
                               for who, (us, error) in costs.items())
            figure += "; connections in all {:.2f} ± {:.2f} × HAProxy".format(*s.ratio(f"{kind} portcullis", f"{kind} haproxy"))
            wrong = [f"{who} resumed {t.reused} of {t.reused + t.full}" for who in costs
                     if (t := tls[f"{kind} {who}"]) and t.reused < (t.reused + t.full) * 0.9 * resumed]
            yield verdicts.stated(f"TLS {version} handshake, {'resumed' if resumed else 'full'}", "; ".join([figure, *wrong]),
                                  f"{how}; over a plain connection of the same proxy; P-256 certificate", costs=costs)

    def streams(self):
        token = self.material.tokens["HS256"][0]

        def targets(gateway, _, haproxy, ports):
            return [Streams("HTTP/2", gateway, ports[gateway][1], "/open", token), Streams("HTTP/2, haproxy", haproxy, ports[haproxy][1], "/open", token),
                    Streams("HTTP/2, HS256", gateway, ports[gateway][1], "/HS256", token), Streams("HTTP/1.1", gateway, gateway.port, "/open", token, ("--h1", "-c32"))]

        s = self.slices(targets)
        figure = "{:.1f} µs a request, {:.2f} ± {:.2f} × HAProxy, {:.2f} ± {:.2f} × the gateway's own HTTP/1.1; HS256 adds {:+.1f} ± {:.1f} µs".format(
            s.median("HTTP/2"), *s.ratio("HTTP/2", "HTTP/2, haproxy"), *s.ratio("HTTP/2", "HTTP/1.1"), *s.difference("HTTP/2, HS256", "HTTP/2"))
        yield verdicts.stated("HTTP/2, 100 streams on a connection", figure, f"h2load, 4 connections, 6,000 requests a slice, in turns, {self.starts} starts")

    def bodies(self):
        # One of them is no more than a slice of 40 ms.
        starts, rounds = 2 * self.starts, 3 * self.rounds

        def targets(gateway, floor, haproxy, _):
            return [Body(f"{'up' if up else 'down'} {proxy.name}", proxy, up) for proxy in (gateway, floor, haproxy) for up in (False, True)]

        s = self.slices(targets, starts, starts * max(2, rounds // self.starts))
        for way, name in [("up", "to the service"), ("down", "to the client")]:
            note = "{:.0f} µs a MiB; {:.2f} ± {:.2f} × HAProxy".format(s.median(f"{way} portcullis"), *s.ratio(f"{way} portcullis", f"{way} haproxy"))
            yield verdicts.ratio(f"body of 64 MiB, streamed {name}", 1.1, s.ratio(f"{way} portcullis", f"{way} floor"),
                                 f"slices of one body in turns, {starts} starts; CPU a MiB", "bare Pingora", note)
