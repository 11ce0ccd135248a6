"""What authentication adds to a request's CPU time: routes of one gateway in turns with its open route, see `slices`."""

import hashlib
import json
import os
import statistics

from . import material as stock
from . import verdicts
from .processes import LOAD, SUBJECT
from .proxies import Gateway
from .slices import Target, combine, fastest, turns

CREDENTIAL = "00000000-0000-4000-8000-000000000001"


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


def paired(targets, rounds, say):
    """Rows of (name, least, median, added, plus or minus): µs of CPU a request, and what it is over the first target's, in the fastest
    third of the rounds."""
    turns(targets, rounds)
    base, rows, quick = targets[0], [], fastest(targets)
    for target in targets:
        more, error = combine([[target.values[at] - base.values[at] for at in quick]])
        rows.append((target.name, min(target.values), statistics.median(target.values), more, error))
        say("{:28} least {:6.1f}  median {:6.1f}  added {:+6.2f} ± {:.2f} µs".format(*rows[-1]))
    return rows


def added(material, service, folder, rounds, say, live=(1, 10_000, 1_000_000)):
    os.sched_setaffinity(0, set(LOAD))
    rows = []
    for count in live:
        with Gateway(configuration(material, service.port, count), folder / f"added-{count}", cpus=SUBJECT, threads=1) as gateway:
            gateway.ready(600)
            few = opaque(count)[:: max(1, count // 10_000)][:10_000]
            targets = [Target("no authentication", gateway, "/open", material.tokens["HS256"][:1])]
            if count == live[0]:
                for algorithm in stock.ALGORITHMS:
                    targets.append(Target(f"jwt {algorithm}, one token", gateway, f"/{algorithm}", material.tokens[algorithm][:1]))
                    targets.append(Target(f"jwt {algorithm}, {stock.DISTINCT} tokens", gateway, f"/{algorithm}", material.tokens[algorithm]))
                for algorithm in stock.ALGORITHMS[1:]:
                    tokens = [material.mint(algorithm, n, headers={"kid": "one"}, iss=provider(algorithm)) for n in range(stock.DISTINCT)]
                    targets.append(Target(f"oidc {algorithm}, one token", gateway, f"/oidc/{algorithm}", tokens[:1]))
                    targets.append(Target(f"oidc {algorithm}, {stock.DISTINCT} tokens", gateway, f"/oidc/{algorithm}", tokens))
                targets.append(Target("401 without a token", gateway, "/HS256", [None], 401))
            targets.append(Target(f"opaque, {count} live", gateway, "/opaque", few))
            rows += [row for row in paired(targets, rounds, say) if count == live[0] or row[0] != targets[0].name]
            for target in targets:
                target.close()
    return rows


def verdicts_of(rows):
    """What the kinds of authentication may add to a request, by tokens seen before."""
    found = []
    for name, _, _, more, error in rows:
        kind = name.split(",")[0]
        limit = 2.0 if kind in ("jwt HS256", "opaque") else 2.5 if kind.startswith(("jwt", "oidc")) else None
        if limit:
            found.append(verdicts.difference(name, limit, (more, error), "slices in turns with the open route of the same process; the third of the rounds in which the machine was at its fastest"))
    return found
