"""The table of targets, as far as it is about CPU time: what a request costs beside other proxies, with many routes, credentials and tokens."""

import contextlib
import json
import pathlib
import time

import jwt

from . import scale, tools, verdicts
from .driver import driver
from .material import ALGORITHMS, MANY
from .processes import CPUS, LOAD, SUBJECT
from .proxies import GATEWAY, Gateway, service, start_envoy, start_floor, start_haproxy, start_nginx
from .slices import FASTEST, Once, Target, started

ROUTES = 10_000
# Tokens seen before: how many take turns.
SEEN = {"one token": 1, f"{MANY:,} tokens": MANY}
# The route that `scale.generate` makes, and what a remembered token of its takes, with room to spare.
PATH = "/api/00000"
# With more credentials a process takes so long to start, and its tokens to send, that the row has fewer starts, and none with tokens of one credential.
QUICK = 100_000
IDLE_LIMIT = 25
MISS = 'portcullis_verify_duration_seconds_{}{{algorithm="{}",cache="miss",result="valid"}}'


@contextlib.contextmanager
def together(*proxies):
    """Several processes that end together, whatever happens."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(proxy()) for proxy in proxies]


class Rows:
    def __init__(self, material, upstream, folder, rounds, starts, sizes, seconds, say):
        self.material, self.upstream, self.folder = material, upstream, folder / "rows"
        self.rounds, self.starts, self.sizes, self.seconds, self.say = rounds, starts, sizes, seconds, say
        self.slices = f"slices of 384 requests in turns, {starts} starts, {max(2, rounds // starts)} rounds each, of which {FASTEST}"

    def gateway(self, text, name, **how):
        return Gateway(text, self.folder / name, cpus=SUBJECT, threads=1, **how).ready(180)

    def parts(self):
        return [self.beside, self.settings, self.credentials, self.threads, self.idle]

    def beside(self):
        """Beside the bare framework and other proxies; tokens seen before and tokens never seen."""
        material, port = self.material, self.upstream.port
        new = {a: [material.mint(a, n) for n in range(Once.tokens(max(2, self.rounds // self.starts)))] for a in ALGORITHMS}

        @contextlib.contextmanager
        def opened(number):
            folder = self.folder / f"beside-{number}"
            peers = [lambda: self.gateway(material.kong(port), f"beside-{number}"), lambda: start_floor(False, port, folder)]
            peers += [lambda a=a: start_haproxy(material, a, port, folder / a) for a in ("HS256", "RS256", "ES256")]
            peers += [lambda a=a: start_envoy(material, a, port, folder / a) for a in ("ES256", "EdDSA")]
            peers += [lambda: start_nginx(material, "HS256", port, folder)]
            # A gateway of its own for long tokens, so that their checks are not among those of the others.
            peers += [lambda: self.gateway(material.kong(port), f"long-{number}")]
            peers += [lambda: start_floor(True, port, folder / "deny")]
            peers += [lambda a=a: start_floor(False, port, folder / f"check-{a}", a) for a in ALGORITHMS]
            with together(*peers) as (gateway, floor, hs, rs, es, envoy_es, envoy_ed, nginx, long, deny, *checks):
                tokens = material.tokens
                bare = lambda row, proxy=floor: Target(f"floor, {row}", proxy, "/open", tokens["HS256"][:1])
                seen = {"HS256": [hs], "RS256": [rs], "ES256": [es, envoy_es], "EdDSA": [envoy_ed]}
                kinds = [(a, how, material.many(a)[:count]) for a in ALGORITHMS for how, count in SEEN.items()]
                once = {"HS256": hs, "RS256": rs, "ES256": es, "EdDSA": envoy_ed}
                yield [
                    [bare("open"), Target("open", gateway, "/open", tokens["HS256"][:1])],
                    *([bare(f"{a}, {how}"), Target(f"{a}, {how}", gateway, f"/{a}", several),
                       *(Target(f"{a}, {how}, {who.name}", who, f"/{a}", several) for who in seen[a])] for a, how, several in kinds),
                    *([bare(f"{a} new"), Target(f"check {a}", check, "/open", tokens["HS256"][:1], checks=check.checks),
                       Target(f"open {a}", gateway, "/open", tokens[a][:1]),
                       Once(f"{a} new", gateway, f"/{a}", new[a], checks=lambda a=a: self.misses(gateway, a)),
                       Once(f"{a} new, {once[a].name}", once[a], f"/{a}", new[a])] for a, check in zip(ALGORITHMS, checks)),
                    [Target("401", gateway, "/HS256", [None], 401), Target("401, floor", deny, "/HS256", [None], 401),
                     Target("401, haproxy", hs, "/HS256", [None], 401)],
                    [Target("bad", gateway, "/HS256", tokens["bad"], 401), Target("bad, floor", deny, "/HS256", tokens["bad"], 401),
                     Target("bad, haproxy", hs, "/HS256", tokens["bad"], 401)],
                    [Target("8 KiB", long, "/HS256", tokens["8k"]), Target("8 KiB, nginx", nginx, "/HS256", tokens["8k"])],
                ]

        s = started(opened, self.starts, self.rounds, self.say)
        yield verdicts.ratio("route without authentication", 1.05, s.ratio("open", "floor, open"), self.slices, "bare Pingora")
        for algorithm, limit, other, name in [("HS256", 1.0, "haproxy", "HAProxy"), ("RS256", 0.6, "haproxy", "HAProxy"), ("ES256", 0.6, "haproxy", "HAProxy"),
                                              ("ES256", 0.5, "envoy", "Envoy with its cache"), ("EdDSA", 0.5, "envoy", "Envoy with its cache")]:
            for how in SEEN:
                row = f"{algorithm}, {how}"
                measured, least = (s.ratio(one, f"{row}, {other}") for one in (row, f"floor, {row}"))
                yield verdicts.ratio(f"{row}, seen before", limit, measured, self.slices, name, least=least)
        for algorithm in ALGORITHMS:
            yield self.unseen(s, algorithm)
            other, name = ("envoy", "Envoy") if algorithm == "EdDSA" else ("haproxy", "HAProxy")
            measured, least = (s.ratio(name, f"{algorithm} new, {other}") for name in (f"{algorithm} new", f"check {algorithm}"))
            yield verdicts.ratio(f"{algorithm}, never seen", 1.0, measured, f"{self.slices}; each token once", name, least=least,
                                 built_on="bare Pingora with nothing but the signature check")
        for name, what in [("401", "401 without a token"), ("bad", "401, bad HS256 signature")]:
            # Targets keep their connections: one that is closed after a refusal ends the measurement.
            own, error = s.ratio(name, f"{name}, floor")
            yield verdicts.ratio(what, 1.15, s.ratio(name, f"{name}, haproxy"), f"{self.slices}; connections kept", "HAProxy",
                                 f"{own:.3f} ± {error:.3f} × bare Pingora's 401 without a body", s.ratio(f"{name}, floor", f"{name}, haproxy"))
        yield verdicts.ratio("HS256, token of 8 KiB", 1.0, s.ratio("8 KiB", "8 KiB, nginx"), f"{self.slices}; 100 tokens", "nginx with Lua")

    def misses(self, gateway, algorithm):
        return [gateway.metric(MISS.format(part, algorithm)) for part in ("sum", "count")]

    def unseen(self, slices, algorithm):
        """Over the open route with a token as long and the verification itself."""
        check = f"check {algorithm}: the check"
        note = "{:+.2f} ± {:.2f} with the check, which takes {:.2f} ± {:.2f} in bare Pingora, and with the gateway's memory of signatures {:.2f} ± {:.2f}".format(
            *slices.difference(f"{algorithm} new", f"open {algorithm}"), *slices.value(check), *slices.value(f"{algorithm} new: the check"))
        how = f"{self.slices}; each token once; over the open route and the time of the same check in bare Pingora, by its clock in a slice of the same round"
        # A check leaves less of what the rest of a request needs in the processor's caches, whoever makes it.
        return verdicts.difference(f"{algorithm}, never seen: over the open route and the check", 3.0,
                                   slices.difference(f"{algorithm} new", f"open {algorithm}", check), how, note=note,
                                   least=slices.difference(f"check {algorithm}", f"floor, {algorithm} new", check))

    def settings(self):
        """Many routes, the access log, the histograms: one process each, and one more that differs in nothing."""
        paths = [f"/r/{number:05d}" for number in range(ROUTES)]

        def text(routes):
            listed = [{"name": f"r{n}", "paths": [path], "strip_path": False} for n, path in enumerate(routes)]
            return json.dumps({"_format_version": "3.0", "services": [
                {"name": "loadtest", "url": f"http://127.0.0.1:{self.upstream.port}", "routes": listed}]})

        @contextlib.contextmanager
        def opened(number):
            one = lambda name, **settings: lambda: self.gateway(text(["/r"]), f"{name}-{number}", **settings)
            with together(one("base"), one("control"), lambda: self.gateway(text(paths), f"routes-{number}"),
                          one("log", proxy_access_log=self.folder / "access.log"), one("bare", kong_latency_metrics="off")) as gateways:
                names = ["one route", "control", "routes", "log", "no histograms"]
                targets = [Target(name, gateway, "/", [None]) for name, gateway in zip(names, gateways)]
                for target in targets:
                    # The same paths to all; every one of them once before the first slice.
                    target.requests = [target.requests[0].replace(b"GET / ", f"GET {path} ".encode()) for path in paths]
                    target.warm = 1 + ROUTES // 32
                yield [targets]
                (self.folder / "access.log").unlink(missing_ok=True)

        # What is asked for is less than two processes of one program differ by, and one of these is started in a moment.
        starts, rounds = 2 * self.starts, max(2, self.rounds // self.starts)
        s = started(opened, starts, starts * rounds, self.say)
        control = "a second process of the same differs by {:+.2f} ± {:.2f} µs".format(*s.difference("control", "one route"))
        how = f"slices of 384 requests in turns, {starts} starts, {rounds} rounds each, of which {FASTEST}; two processes; 10,000 paths in turn"
        yield verdicts.difference("10,000 routes over one", 1.0, s.difference("routes", "one route"), how, note=control)
        yield verdicts.difference("access log on (a file) over off", 1.5, s.difference("log", "one route"), f"{how}; the thread that writes it included", note=control)
        own = "kong_latency_metrics only: the gateway's own histograms cannot be switched off"
        yield verdicts.difference("histograms of latency on over off", 0.3, s.difference("one route", "no histograms"), how, note=f"{own}; {control}")

    def credentials(self):
        """The same request with few and many credentials in the configuration, all tokens in turn."""
        few, exp = [size for size in self.sizes if size <= QUICK], int(time.time()) + 24 * 3600
        every = [jwt.encode({"iss": f"key-{n:06d}", "exp": exp}, scale.secret(n), algorithm="HS256") for n in range(max(self.sizes))]
        # As many tokens of one credential: what is remembered of tokens is the same then.
        of_one = [jwt.encode({"iss": "key-000000", "exp": exp + n}, scale.secret(0), algorithm="HS256") for n in range(max(few, default=0))]

        def gateway(credentials, name, **settings):
            return self.gateway(scale.generate(1, credentials, self.upstream.port, 0, "json"), f"credentials-{name}", **settings)

        what = "{:,} credentials, all tokens in turn".format

        @contextlib.contextmanager
        def opened(number):
            made = [lambda: gateway(1, "one"), *(lambda size=size: gateway(size, f"{size}") for size in few), *(lambda size=size: gateway(1, f"of-one-{size}") for size in few)]
            with together(*made) as (one, *others):
                yield [[
                    Target("1", one, PATH, every[:1]),
                    *(Target(f"{size}", gateway, PATH, every[:size]) for size, gateway in zip(few, others)),
                    *(Target(f"of one, {size}", gateway, PATH, of_one[:size]) for size, gateway in zip(few, others[len(few):])),
                ]]

        s = started(opened, self.starts, self.rounds, self.say)
        for size in few:
            yield verdicts.ratio(what(size), 1.10, s.ratio(f"{size}", f"of one, {size}"), self.slices, "one credential with as many tokens")
            tokens = "as many tokens of one credential: {:.3f} ± {:.3f} ×".format(*s.ratio(f"of one, {size}", "1"))
            yield verdicts.ratio(what(size), 1.10, s.ratio(f"{size}", "1"), self.slices, "one credential with one token", tokens)
        for size in (size for size in self.sizes if size > QUICK):

            @contextlib.contextmanager
            def opened(number):
                with together(lambda: gateway(1, "one"), lambda: gateway(size, "all")) as (one, all_of_them):
                    yield [[Target("1", one, PATH, every[:1]), Target("all", all_of_them, PATH, every[:size])]]

            starts = min(3, self.starts)
            s = started(opened, starts, self.rounds * starts // self.starts, self.say)
            how = f"slices of 384 requests in turns, {starts} starts, {max(2, self.rounds // self.starts)} rounds each, of which {FASTEST}"
            yield verdicts.ratio(what(size), 1.10, s.ratio("all", "1"), how, "one credential with one token")

    def threads(self):
        """Requests of two worker threads over those of one, and what stands in the way of more."""
        requests = self.material.requests_file("threads", [("/HS256", token) for token in self.material.tokens["HS256"]])
        others = CPUS[2:]
        starts = {"gateway": lambda port, folder, count: Gateway(self.material.kong(port), folder, CPUS[:count], count).ready(),
                  "floor": lambda port, folder, count: start_floor(False, port, folder, cpus=CPUS[:count], threads=count)}
        results = {(name, count): [] for name in starts for count in (1, 2)}
        for _ in range(3):
            for name, count in results:
                load = (others or CPUS) if count == 2 else (others or LOAD)
                folder = self.folder / f"threads-{name}-{count}"
                with service(folder, load) as upstream, starts[name](upstream.port, folder, count) as proxy:
                    tools.wrk(proxy, requests, 1, cpus=load)
                    used, serving = proxy.cpu_seconds(), upstream.cpu_seconds()
                    result = tools.wrk(proxy, requests, self.seconds, 64, cpus=load)
                    us = 1e6 / max(1, result["requests"])
                    results[name, count].append((result["per_second"], (proxy.cpu_seconds() - used) * us,
                                                 (result["wrk_cpu_s"] + upstream.cpu_seconds() - serving) * us))
        # The median of requests/s; of CPU times the least, as other work only ever adds to them.
        one, two, floor, floors = ([pick(sorted(values)) for pick, values in zip((lambda v: v[1], min, min), zip(*results[key]))]
                                   for key in results)
        ratio = two[0] / one[0]
        share = two[2] / (two[1] + two[2])
        figure = (f"{ratio:.2f} × ({two[0]:.0f} over {one[0]:.0f} requests/s); CPU of a request: gateway {one[1]:.0f} µs with one, {two[1]:.0f} with two "
                  f"({two[1] / one[1]:.2f} ×); load side {two[2]:.0f} µs, {share:.0%} of all")
        note, verdict = "", verdicts.PASSED if ratio >= 1.8 else verdicts.FAILED
        if len(CPUS) < 4:
            # Two CPUs for gateway and load together, over what one CPU for each gives: no more can be seen here.
            most = len(CPUS) / (two[1] + two[2]) * max(one[1], one[2])
            verdict = verdicts.UNDECIDED
            note = (f"{len(CPUS)} CPUs carry the load side too: {most:.2f} × is the most that can be seen here; by CPU time alone two threads "
                    f"would serve {2 * one[1] / two[1]:.2f} × (a CPU each, load elsewhere), bare Pingora {2 * floor[1] / floors[1]:.2f} ×; "
                    f"it serves {floors[0] / floor[0]:.2f} × here")
            if max(most, floors[0] / floor[0]) < 1.8:
                verdict = verdicts.OUT_OF_REACH
        yield verdicts.row("two worker threads over one", "1.8 × at least", figure, verdict,
                           f"wrk, 64 connections, {self.seconds} s, three of each in turns", note, ratio=ratio, one=one, two=two)

    def idle(self):
        size = pathlib.Path(GATEWAY).stat().st_size / 2**20
        yield verdicts.stated("binary", f"{size:.1f} MiB", "size of the file", value=size)
        with Gateway(self.material.kong(self.upstream.port), self.folder / "idle").ready() as gateway:
            time.sleep(3)
            yield verdicts.bound("idle memory", f"below {IDLE_LIMIT} MiB", gateway.memory() / 2**20, IDLE_LIMIT, "MiB",
                                 f"resident, 3 s after the start, a worker thread for each of {len(CPUS)} CPUs, 5 routes, 4 consumers")
