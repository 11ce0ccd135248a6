"""Scenarios with an identity provider: it rotates and goes away, and clients make key ids up."""

import base64
import contextlib
import http.server
import json
import subprocess
import threading
import time

from . import tools
from .material import oidc
from .processes import LOAD, pinned
from .proxies import Gateway, Provider

# Good traffic beside the storm may be this much slower (p99) than alone; below the floor (ms) a ratio is noise.
STORM_FACTOR, STORM_FLOOR = 1.5, 2.0
# Tokens with made-up key ids a second, from so many connections.
STORM, STORM_CONNECTIONS = 10_000, 64


class Feed:
    """Gets a token of the provider every half second, and hands the newest ones out as a JSON list, the newest first."""

    def __init__(self, provider, keep=200):
        self.provider, self.keep, self.tokens, self.kids = provider, keep, [provider.token()], set()
        self.done = threading.Event()
        feed = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = json.dumps(feed.tokens[:20] + feed.tokens[20::10]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        # The provider takes its time: several ask at once.
        self.threads = [threading.Thread(target=self.collect, args=(number,), daemon=True) for number in range(5)]

    def collect(self, number):
        self.done.wait(number / 2)
        while not self.done.is_set():
            with contextlib.suppress(OSError):
                token = self.provider.token()
                self.kids.add(token.split(".")[0])
                self.tokens = [token, *self.tokens][:self.keep]
            self.done.wait(0.5)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.server.shutdown()


def series(gateway, name, provider, labels=""):
    return gateway.metric(f'{name}{{issuer="{provider.url("").rstrip("/")}"{labels}}}')


def quick(bench):
    return bench.seconds <= 5


def rotation(bench):
    """Three rotations under load, with answers after two seconds; then the provider is gone for as long as one took."""
    every = 8 if quick(bench) else 20
    seconds = 3 * every + 5
    folder = bench.folder / "rotation"
    # A token is used no longer than its key is published.
    flags = ["--rotate-every", f"{every}s", "--delay", "2s", "--keep", "10", "--lifetime", "30m"]
    with Provider(folder, *flags) as provider, Feed(provider) as feed:
        text = oidc(bench.service.port, provider.url("").rstrip("/"), cooldown=every / 2)
        with Gateway(text, folder).ready() as gateway:
            gateway.wait_for(lambda: series(gateway, "portcullis_oidc_keys", provider) > 0, "the provider's keys")
            away = threading.Timer(seconds, provider.stop)
            away.start()
            result = tools.k6("rotation", gateway, bench.material, folder, seconds + every, bench.rate, {"FEED": feed.url})
            away.join()
            fetches = series(gateway, "portcullis_oidc_fetches_total", provider, ',result="success"')
            gone = provider.popen.poll() is not None
    problems = list(result["broken"])
    if len(feed.kids) < 3:
        problems.append(f"only {len(feed.kids)} keys signed")
    if not gone:
        problems.append("the provider did not go away")
    values = tools.duration(result, "{kind:good}")
    count = int(result["metrics"]["http_reqs"]["values"]["count"])
    failed = result["metrics"]["http_req_failed"]["values"]["passes"]
    facts = [
        f"{count} requests, {int(failed)} refused; {len(feed.kids)} keys, a new one every {every} s; answers after 2 s; away for the last {every} s",
        f"p50 {values['med']:.2f} ms, p99 {values['p(99)']:.0f} ms, longest {values['max']:.0f} ms (requests with a new key wait for it)",
        f"{fetches:.0f} fetches of the key set",
    ]
    return {"passed": not problems, "facts": facts + problems,
            "numbers": {"requests": count, "refused": failed, "keys": len(feed.kids), "fetches": fetches, "milliseconds": values}}


def made_up(provider):
    """The claims of tokens that are wrong in nothing but their key."""
    now = int(time.time())
    claims = {"iss": provider.url("").rstrip("/"), "sub": "john", "aud": "loadtest", "iat": now, "exp": now + 3600}
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


def storm(bench):
    """Good traffic alone and beside made-up key ids, three turns each; and how often the provider was asked meanwhile."""
    folder = bench.folder / "storm"
    cooldown = 5
    turn = max(3, bench.seconds // 2)
    with Provider(folder, "--lifetime", "1h") as provider, Feed(provider, keep=50) as feed:
        text = oidc(bench.service.port, provider.url("").rstrip("/"), cooldown)
        with Gateway(text, folder).ready() as gateway:
            gateway.wait_for(lambda: series(gateway, "portcullis_oidc_keys", provider) > 0, "the provider's keys")
            broken, p99, storms = [], {"alone": [], "beside": []}, []
            before, start = provider.count("jwks"), time.monotonic()
            for _ in range(3):
                for kind in p99:
                    wrk = None
                    if kind == "beside":
                        # A connection's turn is its rest and about three milliseconds until the answer is there and wrk takes it.
                        rest = 1000 * STORM_CONNECTIONS / bench.storm - 3
                        # The storm must not take the CPU from the client whose waiting is measured: that would not be the gateway's doing.
                        command = ["chrt", "--idle", "0", "wrk", "-t1", f"-c{STORM_CONNECTIONS}", f"-d{turn + 2}s", "--timeout", "10s", "-s",
                                   str(tools.HERE / "wrk/storm.lua"), gateway.url(), "--", made_up(provider), f"{rest:.0f}"]
                        wrk = subprocess.Popen(pinned(command, LOAD[:1]), stdout=subprocess.PIPE, text=True)
                    result = tools.k6("storm", gateway, bench.material, folder, turn, bench.rate, {"FEED": feed.url})
                    broken += [f"{kind}: {rule}" for rule in result["broken"]]
                    p99[kind].append(tools.duration(result, "{kind:good}").get("p(99)", 0.0))
                    if wrk:
                        out, _ = wrk.communicate(timeout=60)
                        storms.append(json.loads(out.split("RESULT ", 1)[1]))
            took = time.monotonic() - start
            fetches = provider.count("jwks") - before
    sent, refused = (sum(one[name] for one in storms) for name in ("requests", "refused"))
    rate = sent / (sum(one["duration_us"] for one in storms) / 1e6)
    if refused != sent or any(one["broken"] for one in storms):
        broken.append(f"of {sent} made-up tokens {refused} were refused")
    allowed = took / cooldown + 1
    if fetches > allowed:
        broken.append(f"{fetches} fetches in {took:.0f} s, with a cooldown of {cooldown} s")
    alone, beside = (min(filter(None, p99[kind]), default=0.0) for kind in ("alone", "beside"))
    near = 0 < beside <= max(alone * STORM_FACTOR, STORM_FLOOR)
    facts = [
        f"{sent} made-up key ids, {rate:.0f}/s; {fetches} fetches of the key set in {took:.0f} s (cooldown {cooldown} s)",
        f"good traffic's p99: alone {alone:.2f} ms, beside the storm {beside:.2f} ms ({beside / max(alone, 1e-9):.2f}×; best of three turns each)",
    ]
    return {"passed": not broken and near, "facts": facts + broken,
            "numbers": {"p99_milliseconds": p99, "storm_per_second": rate, "fetches": fetches, "seconds": took}}
