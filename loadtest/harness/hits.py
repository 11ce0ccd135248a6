"""How many signatures are found among those verified before, with 100,000 RS256 tokens of which some come often and most seldom (Zipf)."""

import itertools
import random
import time

from .processes import SUBJECT
from .proxies import Gateway
from .slices import CONNECTIONS, Target, nanoseconds, request

SERIES = 'portcullis_verify_duration_seconds_count{{algorithm="RS256",cache="{}",result="valid"}}'
SIZES = ("0", "1m", "2m", "4m", "8m", "16m")


def hits(material, upstream, folder, tokens, requests, say):
    """One point for each size of the cache: the ratio in the second half of the requests, and CPU of a request."""
    start = time.monotonic()
    weights = list(itertools.accumulate(1 / rank for rank in range(1, tokens + 1)))
    numbers = random.Random(1).choices(range(tokens), cum_weights=weights, k=requests)
    # Only what is drawn is signed: that takes a millisecond each.
    made = {number: request("/RS256", material.mint("RS256", number)) for number in set(numbers)}
    drawn = [made[number] for number in numbers]
    half = requests // 2
    # With room for everything, a token is verified when it comes for the first time.
    most = 1 - len(set(numbers[half:]) - set(numbers[:half])) / (requests - half)
    say(f"  {tokens} tokens, exponent 1: {len(made)} of them in {requests} requests, signed in {time.monotonic() - start:.0f} s")
    points = []
    for size in SIZES:
        with Gateway(material.kong(upstream.port), folder / f"hits-{size}", SUBJECT, 1, verified_token_cache_size=size).ready() as gateway:
            target = Target("zipf", gateway, "/RS256", [])
            target.requests = drawn
            target.run(half // CONNECTIONS)
            counts = lambda: [gateway.metric(SERIES.format(kind)) for kind in ("hit", "miss")]
            before, used = counts(), nanoseconds(gateway.pid)
            sent = target.run((requests - half) // CONNECTIONS)
            cpu = (nanoseconds(gateway.pid) - used) / 1e3 / sent
            hit, miss = (now - then for now, then in zip(counts(), before))
            target.close()
            points.append({"size": size, "tokens": tokens, "ratio": hit / max(1, hit + miss), "cpu_us": cpu, "most": most, "checks": hit + miss, "requests": sent,
                           "memory": gateway.memory()})
            say(f"  verified_token_cache_size {size}: {points[-1]['ratio']:.1%} of {hit + miss:.0f} checks ({most:.1%} with room for all), "
                f"{cpu:.1f} µs a request, {gateway.memory() / 2**20:.0f} MiB")
    return points
