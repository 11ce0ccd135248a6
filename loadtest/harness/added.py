"""What authentication adds to a request's CPU time: routes of one gateway in turns with its open route, see `slices`.

The open route gets the same tokens: bytes that are read and passed on are no part of what authentication costs.
"""

import hashlib
import json
import os
import statistics

from . import material as stock
from . import verdicts
from .processes import LOAD, SUBJECT
from .proxies import Gateway
from .slices import FASTEST, Target, combine, fastest, prepare, rotate

CREDENTIAL = "00000000-0000-4000-8000-000000000001"
# Rounds that a group of targets has in a row.
BLOCK = 10
HOW = f"slices of 384 requests in turns with the open route of the same process and the same tokens, several starts; of the rounds of each {FASTEST}"


def provider(algorithm):
    return f"https://{stock.issuer(algorithm)}.example"


def opaque(count):
    return [hashlib.sha256(f"token {number}".encode()).hexdigest()[:32] for number in range(count)]


def configuration(material, service_port, live):
    """The usual routes, one of openid-connect for each algorithm, and one of oauth2 with so many live tokens."""
    config = json.loads(material.kong(service_port))
    service = config["services"][0]
    for algorithm in stock.ALGORITHMS[1:]:
        keys = json.loads(material.jwks(algorithm).read_text())["keys"]
        service["routes"].append({
            "name": f"oidc-{algorithm}", "paths": [f"/oidc/{algorithm}"], "strip_path": False,
            "plugins": [{"name": "openid-connect", "config": {
                "issuer": provider(algorithm), "using_pseudo_issuer": True, "jwks": {"keys": [{**key, "kid": "one"} for key in keys]},
                "auth_methods": ["bearer"], "audience_required": ["api"],
                "upstream_headers_claims": ["sub"], "upstream_headers_names": ["x-user"],
            }}],
        })
    service["routes"].append({
        "name": "opaque", "paths": ["/opaque"], "strip_path": False,
        "plugins": [{"name": "oauth2", "config": {"enable_client_credentials": True, "provision_key": "p"}}],
    })
    config["consumers"].append({"username": "app", "oauth2_credentials": [{
        "id": CREDENTIAL, "name": "app", "client_id": "app", "client_secret": "secret-of-the-app", "redirect_uris": ["https://app.example/"],
    }]})
    config["oauth2_tokens"] = [
        {"credential": {"id": CREDENTIAL}, "service": {"name": "loadtest"}, "access_token": token, "expires_in": 0, "token_type": "bearer"}
        for token in opaque(live)
    ]
    return json.dumps(config)


class Pairs:
    """Targets, each with the open route that gets the same tokens."""

    def __init__(self, gateway):
        self.gateway, self.bases, self.groups = gateway, {}, {}

    def open(self, group, tokens):
        """The open route with the same tokens: each kind of authentication takes turns with its own."""
        key = group, len(tokens)
        if key not in self.bases:
            self.bases[key] = Target(f"no authentication, {len(tokens):,} {'token' if len(tokens) == 1 else 'tokens'} for {group}", self.gateway, "/open", tokens)
            self.groups.setdefault(group, []).append((self.bases[key], self.bases[key]))
        return self.bases[key]

    def add(self, name, path, tokens, status=200):
        group = name.split(",")[0]
        base = self.open(group, tokens)
        self.groups[group].append((Target(name, self.gateway, path, tokens, status), base))

    def run(self, rounds):
        """(name, values, what is more than the open route's) of each, in the fastest third of the rounds."""
        groups, found = [[target for target, _ in pairs] for pairs in self.groups.values()], []
        for targets in groups:
            prepare(targets)
        # A group's rounds are spread over the whole time: a machine is slow for minutes.
        for first in range(0, rounds, BLOCK):
            for targets in groups:
                rotate(targets, min(BLOCK, rounds - first))
                for target in targets:
                    target.close()
        for targets, pairs in zip(groups, self.groups.values()):
            quick = fastest(targets)
            found += [(target.name, target.values, [target.values[at] - base.values[at] for at in quick]) for target, base in pairs]
        return found


def added(material, service, folder, rounds, starts, say, live=(1, 10_000, 1_000_000)):
    """(name, least, median, added, plus or minus): µs of CPU a request, and what it is over the open route's. Two processes differ by where
    their memory lies, so it is started several times."""
    os.sched_setaffinity(0, set(LOAD))
    rows = []
    for count in live:
        found = {}
        for start in range(starts):
            with Gateway(configuration(material, service.port, count), folder / f"added-{count}-{start}", cpus=SUBJECT, threads=1) as gateway:
                gateway.ready(600)
                for name, values, more in pairs_of(material, gateway, count, count == live[0]).run(max(BLOCK, rounds // starts)):
                    found.setdefault(name, []).append((values, more))
            say(f"  start {start + 1} of {starts}, {count} live")
        for name, groups in found.items():
            values = [value for values, _ in groups for value in values]
            rows.append((name, min(values), statistics.median(values), *combine([more for _, more in groups])))
            say("{:44} least {:6.1f}  median {:6.1f}  added {:+6.2f} ± {:.2f} µs".format(*rows[-1]))
    return rows


def pairs_of(material, gateway, live, with_jwt):
    """Opaque tokens, so many of them live; jwt and openid-connect, too."""
    few = opaque(live)[:: max(1, live // 10_000)][:10_000]
    pairs = Pairs(gateway)
    if with_jwt:
        for algorithm in stock.ALGORITHMS:
            several = material.many(algorithm)
            for how, tokens in (("one token", several[:1]), (f"{stock.MANY:,} tokens", several)):
                pairs.add(f"jwt {algorithm}, {how}", f"/{algorithm}", tokens)
        for algorithm in stock.ALGORITHMS[1:]:
            several = [material.mint(algorithm, n, headers={"kid": "one"}, iss=provider(algorithm)) for n in range(stock.MANY)]
            for how, tokens in (("one token", several[:1]), (f"{stock.MANY:,} tokens", several)):
                pairs.add(f"oidc {algorithm}, {how}", f"/oidc/{algorithm}", tokens)
        pairs.add("401 without a token", "/HS256", [None], 401)
    pairs.add(f"opaque, {live} live", "/opaque", few)
    return pairs


def verdicts_of(rows):
    """What the kinds of authentication may add to a request, by tokens seen before."""
    found = []
    for name, _, _, more, error in rows:
        kind = name.split(",")[0]
        limit = 2.0 if kind in ("jwt HS256", "opaque") else 2.5 if kind.startswith(("jwt", "oidc")) else None
        if limit:
            found.append(verdicts.difference(name, limit, (more, error), HOW))
    return found
