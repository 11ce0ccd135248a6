"""The load that a profile for `deploy/pgo` is taken from: every kind of request the gateway is fast at, in equal parts."""

import pathlib
import shutil

from . import material as stock
from . import tools
from .added import configuration, opaque, provider
from .material import Material
from .proxies import Gateway, service

WORK = pathlib.Path(__file__).resolve().parents[2] / "target/loadtest/train"
SECONDS = 4
NEW = 2000


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    material = Material(WORK / "material")
    by_provider = lambda algorithm, count=500: [material.mint(algorithm, n, headers={"kid": "one"}, iss=provider(algorithm)) for n in range(count)]
    loads = {"open": [("/open", token) for token in material.tokens["HS256"]]}
    for algorithm in stock.ALGORITHMS:
        loads[algorithm] = [(f"/{algorithm}", token) for token in material.tokens[algorithm]]
    for algorithm in stock.ALGORITHMS[1:]:
        loads[f"oidc-{algorithm}"] = [(f"/oidc/{algorithm}", token) for token in by_provider(algorithm)]
    loads["opaque"] = [("/opaque", token) for token in opaque(1000)]
    loads["refused"] = [("/HS256", token) for token in ["", *material.tokens["bad"], *material.tokens["expired"]]]
    with service(WORK) as upstream, Gateway(configuration(material, upstream.port, 1000), WORK).ready(120) as gateway:
        for name, requests in loads.items():
            done = tools.wrk(gateway, material.requests_file(name, requests), SECONDS)
            print(f"{name}: {done['requests']} requests, {done['status']} refused, {done['failed'] - done['status']} failed", flush=True)
        # Some clients come once.
        tools.wrk(gateway, material.requests_file("close", loads["HS256"]), SECONDS, close=True)
    # Some tokens come for the first time: more of them in turn than so little memory remembers.
    with service(WORK) as upstream, Gateway(configuration(material, upstream.port, 1000), WORK / "new",
                                            verified_token_cache_size="64k").ready(120) as gateway:
        new = {a: [(f"/{a}", material.mint(a, n)) for n in range(NEW)] for a in stock.ALGORITHMS}
        new |= {f"oidc-{a}": [(f"/oidc/{a}", token) for token in by_provider(a, NEW)] for a in stock.ALGORITHMS[1:]}
        for name, requests in new.items():
            done = tools.wrk(gateway, material.requests_file(f"new-{name}", requests), 2)
            print(f"{name}, new: {done['requests']} requests, {done['failed']} failed", flush=True)
    # Some write an access log. Little of it: what is in a profile pushes something else out of the code that is kept together.
    with service(WORK) as upstream, Gateway(configuration(material, upstream.port, 1000), WORK / "logged",
                                            proxy_access_log=WORK / "access.log").ready(120) as gateway:
        tools.wrk(gateway, material.requests_file("logged", loads["open"]), 1)


if __name__ == "__main__":
    main()
