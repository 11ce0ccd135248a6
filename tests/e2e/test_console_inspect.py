"""The token inspector: ten broken tokens, each with the step that refuses it and the hint that says why."""

import base64
import json
import time

import jwt
import pytest
from playwright.sync_api import expect

SECRET = "c2VjcmV0LW9mLWFsaWNlLTMyLWJ5dGVzLW9yLW1vcmUh"
CONFIG = """
_format_version: "3.0"
services:
- name: s
  url: http://127.0.0.1:{service}
  routes:
  - name: orders
    paths: [/orders]
    plugins:
    - name: jwt
      config:
        claims_to_verify: [exp, nbf]
        maximum_expiration: 600
  - name: open-ended
    paths: [/open-ended]
    plugins:
    - name: jwt
consumers:
- username: alice
  jwt_secrets:
  - key: alice-key
    secret: {secret}
- username: bob
  jwt_secrets:
  - key: bob-key
    secret: another-secret-of-32-bytes-or-more
"""


def encoded(part):
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def broken():
    """name: (token, the step that decides, the hint)"""
    now = int(time.time())
    good = {"iss": "alice-key", "iat": now, "nbf": now - 5, "exp": now + 300}

    def signed(claims=None, secret=SECRET, algorithm="HS256", **changed):
        return jwt.encode({**good, **(claims or {}), **changed}, secret, algorithm=algorithm)

    fine = signed()
    return {
        "expired": (signed(exp=now - 37), "claims", "expired"),
        "not yet valid": (signed(nbf=now + 90), "claims", "not_yet_valid"),
        "times in milliseconds": (signed(exp=(now + 300) * 1000), "claims", "milliseconds"),
        "lives too long": (signed(exp=now + 86_400), "claims", "max_lifetime"),
        "signed with the decoded secret": (signed(secret=base64.b64decode(SECRET)), "signature", "secret_base64"),
        "another algorithm": (signed(algorithm="HS512"), "algorithm", "alg_mismatch"),
        "no signature": (f'{encoded({"alg": "none"})}.{encoded(good)}.', "header", "alg_none"),
        "the key in other letters": (signed(iss="Alice-Key"), "credential", "credential_near"),
        "cut off": (fine.rpartition(".")[0], "structure", "truncated"),
        "copied with quotes": (f'"{fine}"', "structure", "quotes"),
    }


@pytest.fixture(scope="module")
def cases():
    return broken()


def test_ten_broken_tokens_are_understood(console, service, cases):
    tab = console(CONFIG.format(service=service, secret=SECRET))
    page = tab.open("inspect?route=orders")
    wrong = {}
    for name, (token, check, hint) in cases.items():
        tab.field("Token").fill(token)
        tab.press("Explain")
        expect(page.get_by_role("heading", name="Refused")).to_be_visible()
        decided = page.locator("[data-decided]")
        expect(decided).to_have_count(1)
        found = (decided.get_attribute("data-check"), page.locator("[data-hint]").evaluate_all("(all) => all.map((one) => one.dataset.hint)"))
        tab.shot(f"inspect-{name.replace(' ', '-')}")
        if found[0] != check or hint not in found[1]:
            wrong[name] = f"{found} instead of {(check, hint)}"
        # The gateway says the same to a client.
        assert tab.gate.get("/orders", token).status == 401, name
        assert tab.overflow() <= 0
        tab.press("Clear")
        expect(decided).to_have_count(0)
    assert wrong == {}
    log, address = tab.gate.log(), page.url
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    for name, (token, _, _) in cases.items():
        token = token.strip('"')
        assert token not in log and token.split(".")[1] not in log, f"{name} is in the log"
        assert token not in address and token not in kept
        # It was asked of the gateway alone, and not in an address.
        assert all(token not in request.url for request in tab.asked)


def test_a_good_token_is_explained_as_well(console, service):
    tab = console(CONFIG.format(service=service, secret=SECRET))
    now = int(time.time())
    token = jwt.encode({"iss": "alice-key", "exp": now + 300, "nbf": now}, SECRET, algorithm="HS256")
    page = tab.open("inspect?url=/orders&method=GET")
    tab.field("Token").fill(token)
    tab.press("Explain")
    expect(page.get_by_role("heading", name="Allowed")).to_be_visible()
    expect(page.get_by_role("link", name="alice")).to_be_visible()
    expect(page.get_by_text("X-Consumer-Username")).to_be_visible()
    assert tab.serious() == []
    tab.shot("inspect-allowed")


def test_a_token_that_passes_elsewhere_says_where(console, service):
    tab = console(CONFIG.format(service=service, secret=SECRET))
    page = tab.open("inspect?route=orders")
    tab.field("Token").fill(jwt.encode({"iss": "alice-key", "exp": int(time.time()) - 60}, SECRET, algorithm="HS256"))
    tab.press("Explain")
    expect(page.get_by_text("This token would pass on")).to_be_visible()
    expect(page.locator("main").get_by_role("link", name="open-ended")).to_be_visible()


def test_who_may_call_names_the_scopes_and_the_trap(console, service):
    tab = console(CONFIG.format(service=service, secret=SECRET))
    page = tab.open("lookup")
    tab.field("URL or path").fill("/orders/7")
    tab.press("Look up")
    expect(page.get_by_role("heading", name="Who gets through")).to_be_visible()
    chain = page.locator(".chain > li")
    expect(chain).to_have_count(1)
    expect(chain.get_by_text("route", exact=True)).to_be_visible()
    expect(page.get_by_text("any of the 2 consumers")).to_be_visible()
    # The trap: nothing ties the route to certain consumers.
    expect(page.locator(".card.warn .note.warn").filter(has_text="consumer").first).to_be_visible()
    assert tab.serious() == []
    tab.shot("lookup")
    tab.field("URL or path").fill("/nowhere")
    tab.press("Look up")
    expect(page.get_by_role("heading", name="No route takes this request")).to_be_visible()
