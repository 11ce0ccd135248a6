"""openid-connect with real identity providers: the same suite for each of them."""

import base64
import contextlib
import json
import os
import re
import threading
import time

import pytest

from conftest import fetch
from providers import AUDIENCE, PROVIDERS


@pytest.fixture(scope="session", params=list(PROVIDERS))
def provider(request):
    return request.getfixturevalue(request.param)


def plugin(provider, **config):
    return {"name": "openid-connect", "config": {
        "issuer": provider.issuer, "client_id": [provider.client], "client_secret": [provider.secret],
        "client_auth": ["client_secret_post"], "auth_methods": ["bearer"], "rediscovery_lifetime": 1,
        **provider.settings, **config,
    }}


@pytest.fixture
def serve(gateway, service, provider):
    """serve(NAME={the plugin's settings}…): a gateway with a route /NAME for each."""
    def start(env=None, consumers=(), **routes):
        config = {
            "_format_version": "3.0",
            "services": [{"name": "echo", "url": f"http://127.0.0.1:{service}", "routes": [
                {"name": name, "paths": [f"/{name}"], "plugins": [plugin(provider, **settings)]} for name, settings in routes.items()
            ]}],
            "consumers": [{"username": name, "custom_id": f"{name}-id"} for name in consumers],
        }
        return gateway(json.dumps(config), env=env)
    return start


def basic(name, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def headers_of(answer):
    assert answer.status == 200, answer
    return json.loads(answer.body)["headers"]


def metric(gate, pattern):
    """The sum of the series that match."""
    text = fetch(f"http://127.0.0.1:{gate.status}/metrics").body
    return sum(float(value) for value in re.findall(rf"^{pattern} (\S+)$", text, re.M))


def calls(gate, endpoint):
    return metric(gate, rf'portcullis_oidc_call_seconds_count\{{endpoint="{endpoint}",[^}}]*\}}')


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def reasons(gate):
    text = fetch(f"http://127.0.0.1:{gate.status}/metrics").body
    return set(re.findall(r'^portcullis_auth_requests_total\{[^}]*reason="(\w+)"', text, re.M))


def test_bearer(serve, provider):
    gate = serve(api={})
    token = provider.token()
    head = token.split(".")[0]
    head = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    assert head["typ"] == provider.jwt_type
    got = headers_of(gate.get("/api", token))
    assert got["Authorization"] == f"Bearer {token}"
    assert got["X-Credential-Identifier"] == claims(token)["sub"]
    assert headers_of(gate.get("/api", provider.client_token()))
    for _ in range(20):
        assert gate.get("/api", token).status == 200
    assert metric(gate, r'portcullis_oidc_fetches_total\{[^}]*\}') == 1, "keys are fetched once, and not for requests"
    assert metric(gate, r'portcullis_oidc_call_seconds_count\{[^}]*\}') == 0, "nothing is asked for a token that can be verified here"

    refused = gate.get("/api")
    assert refused.status == 401 and json.loads(refused.body) == {"message": "Unauthorized"}
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    first, payload, signature = token.split(".")
    changed = dict(claims(token), sub="root")
    forged = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
    for wrong in (f"{first}.{forged}.{signature}", f"{first}.{payload}.{signature[:-8]}AAAAAAAA", f"{first}.{payload}.", "opaque"):
        answer = gate.get("/api", wrong)
        assert answer.status == 401 and 'error="invalid_token"' in answer.headers["WWW-Authenticate"], answer
    log = gate.log()
    assert token not in log and signature not in log


def test_other_tokens_of_the_same_issuer_are_no_access_tokens(serve, provider):
    gate = serve(api={}, mine={"audience_required": [AUDIENCE]})
    granted = provider.grant(grant_type="password", username="john", password="doe", scope="openid", **provider.for_api)
    assert gate.get("/mine", granted["access_token"]).status == 200
    # Where nothing in an ID token says what it is, the audience alone keeps it out (docs/openid-connect.md).
    assert gate.get("/mine", granted["id_token"]).status == (401 if provider.marks_id_tokens else 403)
    if provider.marks_id_tokens:
        assert gate.get("/api", granted["id_token"]).status == 401
    if "refresh_token" in granted:
        assert gate.get("/api", granted["refresh_token"]).status == 401


def test_expiry(serve, provider):
    gate = serve(api={}, lenient={"leeway": 60})
    granted = provider.short_lived()
    token = granted["access_token"]
    assert gate.get("/api", token).status == 200
    time.sleep(max(0.0, claims(token)["exp"] - time.time()) + 0.1)
    assert gate.get("/api", token).status == 401
    assert gate.get("/lenient", token).status == 200
    assert "expired" in reasons(gate)


def test_password_grant(serve, provider):
    gate = serve(api={"auth_methods": ["bearer", "password"]}, basic={"auth_methods": ["password"], **provider.with_basic})
    got = headers_of(gate.get("/api", headers=basic("john", "doe")))
    token = got["Authorization"].removeprefix("Bearer ")
    assert claims(token)["iss"] == provider.issuer
    assert gate.get("/api", token).status == 200
    assert headers_of(gate.get("/basic", headers=basic("alex", "doe")))["Authorization"].startswith("Bearer ")
    before = calls(gate, "token")
    for _ in range(10):
        assert headers_of(gate.get("/api", headers=basic("john", "doe")))["Authorization"] == f"Bearer {token}"
    assert calls(gate, "token") == before, "a token that was got for these credentials is used again"
    for name, password in (("john", "wrong"), ("nobody", "doe"), ("", "")):
        assert gate.get("/api", headers=basic(name, password)).status == 401
    # The credentials of a client are no user's, whatever the method's neighbours are.
    assert gate.get("/api", headers=basic(provider.client, provider.secret)).status == 401
    assert token not in gate.log()


def test_password_grant_of_a_client_that_may_not(serve):
    gate = serve(api={"auth_methods": ["password"], "client_id": ["batch"], "client_secret": ["batch-secret"]},
                 wrong={"auth_methods": ["password"], "client_secret": ["not-it"]})
    for path in ("/api", "/wrong"):
        assert gate.get(path, headers=basic("john", "doe")).status == 401


def test_client_credentials_grant(serve, provider):
    gate = serve(api={"auth_methods": ["client_credentials"]}, both={"auth_methods": ["password", "client_credentials"]})
    got = headers_of(gate.get("/api", headers=basic(provider.client, provider.secret)))
    assert claims(got["Authorization"].removeprefix("Bearer "))["iss"] == provider.issuer
    assert headers_of(gate.get("/api", headers=basic("batch", "batch-secret")))
    assert gate.get("/api", headers=basic(provider.client, "wrong")).status == 401
    assert gate.get("/api", headers=basic("john", "doe")).status == 401
    # A Basic header is a user's where passwords are accepted.
    assert gate.get("/both", headers=basic("john", "doe")).status == 200
    assert gate.get("/both", headers=basic(provider.client, provider.secret)).status == 401


RULES = [
    # the plugin's settings, then whether john and alex pass
    ({"roles_claim": ["realm_access", "roles"], "roles_required": ["reader"]}, True, True),
    ({"roles_claim": ["realm_access", "roles"], "roles_required": ["writer"]}, True, False),
    ({"roles_claim": ["realm_access", "roles"], "roles_required": ["reader writer"]}, True, False),
    ({"roles_claim": ["realm_access", "roles"], "roles_required": ["nobody", "reader"]}, True, True),
    ({"roles_claim": ["realm_access", "roles"], "roles_required": ["reader nobody", "writer nobody"]}, False, False),
    ({"roles_claim": ["realm_access", "roles"], "roles_required": ["read"]}, False, False),
    ({"roles_claim": ["resource_access", "gateway", "roles"], "roles_required": ["operator"]}, True, False),
    ({"roles_claim": ["resource_access", "other", "roles"], "roles_required": ["operator"]}, False, False),
    ({"roles_required": ["reader"]}, False, False),
    ({"groups_required": ["/staff"]}, True, False),
    ({"groups_required": ["/staff /staff/billing"]}, True, False),
    ({"groups_required": ["/guests", "/staff/billing"]}, True, True),
    ({"groups_required": ["/guests /staff"]}, False, False),
    ({"groups_required": ["/staff"], "roles_claim": ["realm_access", "roles"], "roles_required": ["nobody"]}, False, False),
    ({"audience_required": [AUDIENCE]}, True, True),
    ({"audience_required": ["https://other.example.test"]}, False, False),
    ({"audience_required": ["https://other.example.test", AUDIENCE]}, True, True),
    ({"scopes_required": ["phone"]}, True, True),
    ({"scopes_required": ["phone address"]}, False, False),
    ({"scopes_required": ["address", "openid phone"]}, True, True),
    ({"claims_forbidden": ["resource_access"]}, False, True),
]


def test_roles_groups_audience_and_scopes(serve, provider):
    gate = serve(**{f"rule{number}": settings for number, (settings, _, _) in enumerate(RULES)})
    tokens = [provider.token(name, scope="openid phone") for name in ("john", "alex")]
    for number, (settings, *passes) in enumerate(RULES):
        for token, may in zip(tokens, passes):
            answer = gate.get(f"/rule{number}", token)
            assert answer.status == (200 if may else 403), (settings, answer, claims(token))
            if not may:
                assert json.loads(answer.body) == {"message": "Forbidden"}
                assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
    assert gate.get("/rule0").status == 401, "who is nobody is not forbidden, but unknown"


def test_consumers_and_headers(serve, provider):
    gate = serve(
        consumers=["john"],
        api={"consumer_claim": ["preferred_username"], "consumer_by": ["username"]},
        some={"consumer_claim": ["preferred_username"], "consumer_by": ["username"], "consumer_optional": True},
        passed={"upstream_headers_claims": ["preferred_username", "realm_access.roles", "missing"],
                "upstream_headers_names": ["X-User", "X-Roles", "X-Missing"], "authenticated_groups_claim": ["groups"]},
    )
    john, alex = provider.token("john"), provider.token("alex")
    got = headers_of(gate.get("/api", john))
    assert got["X-Consumer-Username"] == "john" and got["X-Consumer-Custom-Id"] == "john-id"
    assert gate.get("/api", alex).status == 403
    assert "X-Consumer-Username" not in headers_of(gate.get("/some", alex, {"X-Consumer-Username": "john"}))
    got = headers_of(gate.get("/passed", john, {"X-User": "root", "X-Missing": "root"}))
    assert got["X-User"] == "john" and "X-Missing" not in got
    assert set(json.loads(base64.b64decode(got["X-Roles"]))) >= {"reader", "writer"}
    assert set(got["X-Authenticated-Groups"].split(", ")) == {"/staff", "/staff/billing"}


def test_introspection(serve, provider):
    gate = serve(
        api={"auth_methods": ["introspection"]},
        fresh={"auth_methods": ["introspection"], "cache_introspection": False, **provider.with_basic},
        writers={"auth_methods": ["introspection"], "roles_claim": ["realm_access", "roles"], "roles_required": ["writer"]},
        wrong={"auth_methods": ["introspection"], "client_secret": ["not-it"]},
        both={"auth_methods": ["bearer", "introspection"]},
    )
    token, other = provider.opaque_token("john"), provider.opaque_token("alex")
    assert headers_of(gate.get("/api", token))["Authorization"] == f"Bearer {token}"
    before = calls(gate, "introspection")
    for _ in range(10):
        assert gate.get("/api", token).status == 200
    assert calls(gate, "introspection") == before, "the answer is kept"
    assert gate.get("/writers", token).status == 200 and gate.get("/writers", other).status == 403
    assert gate.get("/wrong", token).status == 401
    assert gate.get("/both", token).status == 200 and gate.get("/both", provider.token()).status == 200
    for path in ("/api", "/fresh", "/both"):
        assert gate.get(path, "no-such-token").status == 401
    assert gate.get("/fresh", token).status == 200
    provider.revoke(token)
    assert gate.get("/fresh", token).status == 401, "a revoked token ends when answers are not kept"
    assert gate.get("/fresh", other).status == 200
    assert token not in gate.log()


def test_userinfo(serve, provider):
    gate = serve(api={"auth_methods": ["userinfo"], "consumer_claim": ["preferred_username"], "consumer_by": ["username"]}, consumers=["john"])
    token = provider.opaque_token("john", scope="openid profile")
    assert headers_of(gate.get("/api", token))["X-Consumer-Username"] == "john"
    assert gate.get("/api", "no-such-token").status == 401
    assert calls(gate, "userinfo") >= 1


class Traffic:
    """Clients that send good tokens without pause; `wrong` is every answer but 200."""

    def __init__(self, gate, path, tokens, clients=4, pause=0.0):
        self.gate, self.path, self.tokens, self.pause = gate, path, tokens, pause
        self.done, self.wrong, self.count = threading.Event(), [], 0
        self.threads = [threading.Thread(target=self.run, args=(number,), daemon=True) for number in range(clients)]

    def run(self, number):
        at = number
        while not self.done.is_set():
            at += 1
            tokens = self.tokens
            try:
                answer = self.gate.get(self.path, tokens[at % len(tokens)])
                if answer.status != 200:
                    self.wrong.append((time.strftime("%X"), answer))
            except OSError as error:
                self.wrong.append(error)
            self.count += 1
            time.sleep(self.pause)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join(30)


def test_rotation_under_load(serve, provider):
    gate = serve(api={})
    before = provider.token()
    with Traffic(gate, "/api", [before]) as traffic:
        kids = set()
        for _ in range(3):
            provider.rotate()
            token = provider.token()
            kids.add(token.split(".")[0])
            # From this moment half of the requests carry a token whose key was never seen.
            traffic.tokens = [before, token]
            time.sleep(2)
            before = token
    assert len(kids) == 3, "the provider did not rotate"
    assert traffic.count > 100 and not traffic.wrong, (traffic.count, traffic.wrong[:5])

    # A key that is published no longer ends with the next refresh, which an unknown key brings about.
    old = before
    assert gate.get("/api", old).status == 200
    provider.rotate()
    provider.withdraw()
    time.sleep(1.1)
    assert gate.get("/api", provider.token()).status == 200
    assert gate.get("/api", old).status == 401
    assert "kid_unknown" in reasons(gate)


AWAY = float(os.environ.get("E2E_PROVIDER_AWAY", "30"))


def test_the_provider_is_away(serve, provider, tmp_path):
    """Stopped for E2E_PROVIDER_AWAY seconds (30) of real time: good tokens pass, also at a gateway that starts meanwhile."""
    settings = {"env": {"PORTCULLIS_CACHE_DIR": str(tmp_path / "keys")}, "api": {}, "grants": {"auth_methods": ["password"]}}
    gate = serve(**settings)
    tokens = [provider.token(name) for name in ("john", "alex")] + [provider.client_token()]
    assert headers_of(gate.get("/grants", headers=basic("john", "doe")))
    provider.stop()
    try:
        with Traffic(gate, "/api", tokens, clients=2, pause=0.05) as traffic:
            ends = time.monotonic() + AWAY
            assert gate.get("/grants", headers=basic("alex", "doe")).status == 401, "who was not known before cannot be asked about"
            assert gate.get("/grants", headers=basic("john", "doe")).status == 200, "the token got before is still good"
            second = serve(**settings)
            assert second.get("/api", tokens[0]).status == 200, "keys from disk"
            assert second.get("/api", tokens[0][:-8] + "AAAAAAAA").status == 401
            time.sleep(max(0.0, ends - time.monotonic()))
        assert traffic.count > 100 and not traffic.wrong, (traffic.count, traffic.wrong[:5])
        assert not provider.alive()
    finally:
        provider.start()
    until(lambda: gate.get("/grants", headers=basic("alex", "doe")).status == 200, 60)
    assert gate.get("/api", provider.token()).status == 200


def until(so, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if so():
                return
        time.sleep(0.2)
    raise AssertionError(f"did not happen within {seconds} s")
