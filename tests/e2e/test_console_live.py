"""The console's live pages beside what the gateway says elsewhere: under load, after reloads, with many consumers."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import jwt
import pytest
from playwright.sync_api import expect

from conftest import BIN, fetch

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
        claims_to_verify: [exp]
consumers:
- username: alice
  jwt_secrets:
  - key: alice-key
    algorithm: RS256
    rsa_public_key: {key}
"""

LOAD = """
import http from 'k6/http';
import exec from 'k6/execution';
const tokens = {tokens};
export const options = {{
  scenarios: {{ load: {{ executor: 'constant-arrival-rate', rate: 300, duration: '10s', preAllocatedVUs: 20, maxVUs: 100 }} }},
}};
export default function () {{
  const at = exec.scenario.iterationInTest;
  const token = tokens[at % tokens.length];
  http.get('{url}' + at, {{ headers: token ? {{ Authorization: 'Bearer ' + token }} : {{}} }});
}}
"""


def counted(gate):
    """From /metrics: refusals by reason, requests, and verifications by cache."""
    text = fetch(f"http://127.0.0.1:{gate.status}/metrics").body
    reasons, cache = {}, {"hit": 0, "miss": 0}
    for line in text.splitlines():
        labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
        value = line.rsplit(" ", 1)[-1]
        if line.startswith("portcullis_auth_requests_total{") and labels["result"] == "deny":
            reasons[labels["reason"]] = reasons.get(labels["reason"], 0) + int(float(value))
        # Of signatures, which are cached; HMAC is cheaper than the cache.
        if line.startswith("portcullis_verify_duration_seconds_count{") and labels["algorithm"] == "RS256":
            cache[labels["cache"]] += int(float(value))
    return {reason: count for reason, count in reasons.items() if count}, cache


def configured(service, keys):
    return CONFIG.format(service=service, key=json.dumps(keys.public_pem("RS256")))


def test_live_panels_agree_with_metrics_under_load(console, service, keys, tmp_path):
    tab = console(configured(service, keys))
    now = int(time.time())

    def token(**claims):
        return jwt.encode({"iss": "alice-key", "exp": now + 600, **claims}, keys.private_pem("RS256"), algorithm="RS256")

    head, _, signature = token(jti="changed").rpartition(".")
    changed = f"{head}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    tokens = [token(jti=str(number)) for number in range(6)] + [token(exp=now - 60), changed, token(iss="nobody"), ""]
    script = tmp_path / "load.js"
    script.write_text(LOAD.format(tokens=json.dumps(tokens), url=tab.gate.url("/orders/")))
    page = tab.open("live")
    k6 = pathlib.Path(sys.executable).with_name("k6")
    load = subprocess.Popen([k6, "run", "--quiet", "--no-usage-report", "--no-color", script], stdout=subprocess.PIPE, text=True)
    bars = page.locator("[data-reason]")
    expect(bars).to_have_count(4, timeout=15_000)
    during = int(page.locator("[data-figure=refused]").text_content().replace(",", ""))
    assert during > 0
    tab.shot("live-under-load")
    assert load.wait() == 0
    # The page asks every three seconds: what it shows a little later is what was counted in all. A request that the load
    # generator breaks off is no refusal of a token.
    deadline = time.time() + 15
    while True:
        reasons, cache = counted(tab.gate)
        shown = {one.get_attribute("data-reason"): int(one.get_attribute("data-total")) for one in bars.all()}
        gone = shown.pop("client_gone", 0)
        if shown == reasons or time.time() > deadline:
            break
        time.sleep(0.2)
    assert shown == reasons
    assert set(reasons) == {"expired", "signature_invalid", "credential_unknown", "no_token"}, reasons
    assert int(page.locator("[data-figure=refused]").text_content().replace(",", "")) == sum(reasons.values()) + gone > during
    ratio = float(page.locator("[data-figure=ratio-since_start]").text_content().rstrip(" %"))
    assert abs(ratio - 100 * cache["hit"] / (cache["hit"] + cache["miss"])) < 0.1, (ratio, cache)
    # Every refusal in the list carries a fingerprint, none the token.
    rows = page.get_by_role("group", name="Last refusals").get_by_role("row")
    expect(rows).to_have_count(201)
    assert all(one not in page.content() for one in tokens if one)
    page.get_by_role("button", name="expired").click()
    expect(page.get_by_role("heading", name="Last refusals: expired")).to_be_visible()
    expect(rows.nth(1).get_by_text("expired")).to_be_visible()
    assert tab.serious() == []
    tab.shot("live")
    sent = next((line.strip() for line in load.stdout if "http_reqs" in line), "")
    print(f"\n{sum(reasons.values())} refusals counted alike: {reasons}; cache {cache}; {sent}")


def test_configuration_shows_reloads_diagnostics_and_the_difference(console, service, keys):
    tab = console(configured(service, keys))
    gate = tab.gate
    page = tab.open("configuration")
    expect(page.locator("[data-figure=generation]")).to_have_text("1")
    text = gate.config.read_text()
    gate.config.write_text(text + "- username: bob\n")
    gate.process.send_signal(signal.SIGHUP)
    expect(page.locator("[data-figure=generation]")).to_have_text("2", timeout=20_000)
    expect(page.locator(".diff .added").get_by_text("bob")).to_be_visible(timeout=20_000)
    tab.shot("configuration")
    gate.config.write_text(text + "- username: [oops\n")
    gate.process.send_signal(signal.SIGHUP)
    expect(page.get_by_text("failed; the one before stays in use")).to_be_visible(timeout=20_000)
    expect(page.locator(".diagnostics .error").get_by_text(re.compile(r"kong\.yml:\d+"))).to_be_visible()
    expect(page.locator("[data-figure=generation]")).to_have_text("2")
    assert tab.serious() == []
    tab.shot("configuration-failed")
    tab.open("")
    expect(page.get_by_text("The last reload failed")).to_be_visible()
    tab.shot("overview-failed-reload")


def test_tokens_are_listed_and_revoked(console, service):
    tab = console()
    tab.admin("PUT", "/consumers/jane", {})
    client = tab.admin("POST", "/consumers/jane/oauth2", {"name": "demo"})
    tab.admin("POST", "/oauth2_tokens", {"credential": {"id": client["id"]}, "expires_in": 7200, "access_token": "token-of-jane-that-is-not-shown"})
    page = tab.open("oauth2")
    expect(page.get_by_role("table", name="Tokens").get_by_text("demo")).to_be_visible()
    assert "token-of-jane-that-is-not-shown" not in page.content()
    tab.shot("oauth2")
    page.get_by_role("button", name=re.compile("^Revoke token")).click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("No live token")).to_be_visible()
    assert tab.admin("GET", "/oauth2_tokens")["data"] == []


CONSUMERS = 100_000
# What the issue asks of a release build; a debug build does the same work several times slower.
LIMIT_MS = 1500 if "/debug/" in BIN else 200


@pytest.mark.skipif("E2E_SCALE" not in os.environ and "/debug/" in BIN, reason="E2E_SCALE=1 runs it on a debug build as well")
def test_pages_are_quick_with_100_000_consumers(console, service, tmp_path):
    config = {
        "_format_version": "3.0",
        "services": [{"name": "s", "url": f"http://127.0.0.1:{service}", "routes": [{"name": "orders", "paths": ["/orders"], "plugins": [{"name": "jwt"}]}]}],
        "consumers": [{"username": f"consumer-{n}", "custom_id": f"c-{n}", "jwt_secrets": [{"key": f"key-{n}", "secret": f"{n:032}"}]} for n in range(CONSUMERS)],
    }
    tab = console(json.dumps(config), patience=240)
    measured = {}
    for path in ("", "inspect", "lookup?method=GET&url=/orders", "live", "consumers", "consumers/consumer-77777", "services", "routes", "plugins", "keys", "configuration"):
        # The second time: what is kept is what people wait for on every visit.
        for _ in range(3):
            tab.open("nowhere")
            tab.page.evaluate("performance.clearResourceTimings()")
            started = time.time()
            tab.page.evaluate(f"location.hash = {json.dumps('#/' + path)}")
            tab.settled()
            shown = (time.time() - started) * 1000
            slowest = tab.page.evaluate("Math.max(0, ...performance.getEntriesByType('resource').map((one) => one.duration))")
            measured[path or "overview"] = (round(slowest), round(shown))
    print("\nslowest answer and page shown, in ms:", measured)
    assert {path: took for path, took in measured.items() if took[0] > LIMIT_MS} == {}
