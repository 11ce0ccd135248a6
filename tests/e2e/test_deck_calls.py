"""decK's way with the Admin API, by a stand-in (`deck_calls.py`): the second diff is empty, tags select, what is dumped serves the
same traffic. The program itself: `test_deck.py`."""

import os
import subprocess

import jwt
import pytest
import yaml
from conftest import BIN, fetch
from deck_calls import DeckCalls
from test_deck import state

OIDC = """
_format_version: "3.0"
services:
- name: example-service
  url: http://127.0.0.1:{service}
  routes:
  - name: example-route
    paths: [/anything]
    strip_path: false
plugins:
- name: openid-connect
  service: null
  config:
    issuer: http://127.0.0.1:9/realms/master
    client_id: [kong]
    client_secret: [a-secret]
    client_auth: [client_secret_post]
    auth_methods: [bearer, password]
    bearer_token_param_type: [query]
"""


@pytest.fixture
def deck(gateway, tmp_path):
    running = gateway(env={"PORTCULLIS_DATABASE": f"sqlite:{tmp_path}/store.db"})
    calls = DeckCalls(running.admin_url())
    calls.gateway = running
    calls.ping()
    return calls


def settled(deck, text):
    assert deck.diff(text) == ([], []), "the second diff is empty"


def test_walkthrough_001(deck, service):
    text = OIDC.format(service=service)
    assert deck.validate(text) == []
    assert deck.sync(text) == (3, 0)
    settled(deck, text)
    changed = text.replace("[query]", "[header]")
    assert deck.sync(changed) == (1, 0)
    settled(deck, changed)
    deck.reset()
    assert not any(deck.state().values())


def test_walkthrough_003_with_a_thousand_consumers(deck, keys, service, gateway, tmp_path):
    consumers = int(os.environ.get("E2E_DECK_CONSUMERS", "1000"))
    text = state(keys, consumers).replace("http://127.0.0.1:9/anything", f"http://127.0.0.1:{service}/anything")
    assert deck.validate(text) == []
    created, deleted = deck.sync(text)
    assert (created, deleted) == (3 + 2 + 2 * consumers, 0)
    settled(deck, text)
    running = deck.gateway
    claims = {"exp": 4102444800}
    tokens = [
        jwt.encode({"iss": "rs", **claims}, keys.private_pem("RS256"), algorithm="RS256"),
        jwt.encode({"iss": f"k{consumers - 1}", **claims}, f"s{consumers - 1}", algorithm="HS256"),
    ]
    strange = jwt.encode({"iss": "k0", **claims}, "another", algorithm="HS256")
    verdicts = lambda at: [at.get("/echo", token=token).status for token in (*tokens, strange)]
    assert verdicts(running) == [200, 200, 401]
    # One entity less, one changed.
    less = text.replace("- username: c0\n  jwt_secrets: [{key: k0, algorithm: HS256, secret: s0}]\n", "").replace("claims_to_verify: [exp]", "claims_to_verify: [exp, nbf]")
    assert deck.sync(less) == (1, 2)
    settled(deck, less)
    assert running.get("/echo", token=tokens[0]).status == 401, "nbf is asked for"
    deck.sync(text)
    # What is dumped is a valid file, and serves the same.
    dumped = deck.dump()
    file = tmp_path / "dumped.yml"
    file.write_text(dumped)
    checked = subprocess.run([BIN, "check", str(file)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert verdicts(gateway(dumped)) == [200, 200, 401]


def test_tags_select(deck):
    fetch(deck.admin + "/consumers", {"Content-Type": "application/json"}, "POST", b'{"username": "of-others"}')
    text = '_format_version: "3.0"\n_info: {select_tags: [mine, too]}\nconsumers: [{username: a, tags: [own]}, {username: b}]\n'
    assert deck.sync(text) == (2, 0)
    settled(deck, text)
    assert sorted(consumer["username"] for consumer in deck.listed("consumers", ["mine", "too"])) == ["a", "b"]
    assert deck.listed("consumers", ["mine", "others"]) == []
    assert yaml.safe_load(deck.dump(["mine", "too"]))["consumers"][0]["tags"] in (["own", "mine", "too"], ["mine", "too"])
    deck.reset(["mine", "too"])
    assert [consumer["username"] for consumer in deck.listed("consumers", [])] == ["of-others"]
