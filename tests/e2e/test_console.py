"""The console in Chromium: what walkthrough 004 does in a browser, and what every page must be."""

import time

import jwt
import pytest
from playwright.sync_api import expect

from browser import PHONE

SECRET = "!Qwaszxerdfcv"


def mint(lifetime, secret=SECRET, key="jwttoken", **claims):
    now = int(time.time())
    return jwt.encode({"iat": now, "exp": now + lifetime, "iss": key, **claims}, secret, algorithm="HS256")


def test_walkthrough_004_in_the_browser(console, service):
    tab = console()
    page, gate = tab.page, tab.gate

    tab.open("services/new")
    tab.field("name").fill("fastapi")
    tab.field("url").fill("nowhere")
    tab.press("Create service")
    expect(tab.field("url")).to_have_attribute("aria-invalid", "true")
    expect(tab.field("url")).to_be_focused()
    tab.shot("004-1-error-at-its-field")
    tab.field("url").fill(f"http://127.0.0.1:{service}")
    tab.press("Create service")
    tab.heading("fastapi")
    tab.shot("004-2-service")

    page.get_by_role("link", name="Add a route").click()
    tab.heading("New route")
    tab.field("name").fill("kong")
    tab.field("paths").fill("/kong")
    tab.press("Create route")
    tab.heading("kong")
    tab.shot("004-3-route")

    page.get_by_role("navigation", name="Main").get_by_role("link", name="Plugins").click()
    tab.heading("Plugins")
    page.get_by_role("link", name="New plugin").click()
    tab.heading("New plugin")
    tab.field("plugin").select_option("jwt")
    tab.field("instance_name").fill("jwt-authentication")
    page.get_by_role("group", name="claims_to_verify").get_by_label("exp").check()
    tab.field("key_claim_name").fill("iss")
    tab.field("maximum_expiration").fill("600")
    tab.shot("004-4-plugin-form")
    tab.press("Create plugin")
    tab.heading("jwt-authentication")
    tab.shot("004-5-plugin")

    tab.open("consumers")
    page.get_by_role("link", name="New consumer").click()
    tab.heading("New consumer")
    tab.field("username").fill("lab")
    tab.press("Create consumer")
    tab.heading("lab")
    tab.press("Add a JWT credential")
    tab.field("key").fill("jwttoken")
    tab.field("secret").fill(SECRET)
    tab.shot("004-6-credential-form")
    tab.press("Create JWT credential")
    expect(page.get_by_role("table", name="JWT credentials").get_by_role("row")).to_have_count(2)
    tab.shot("004-7-credential")

    # What was made in the browser decides requests: the answers of the walkthrough.
    good = mint(600)
    deadline = time.time() + 5
    while gate.get("/kong/healthy", good).status != 200 and time.time() < deadline:
        time.sleep(0.05)
    assert gate.get("/kong/healthy", good).body == '{"status":"healthy"}'
    assert gate.get("/kong/healthy").status == 401
    for lifetime, body in ((0, '{"exp":"token expired"}'), (3600, '{"exp":"exceeds maximum allowed expiration"}')):
        answer = gate.get("/kong/healthy", mint(lifetime))
        assert (answer.status, answer.body.replace('": "', '":"')) == (401, body)
    assert SECRET not in gate.log() and good not in gate.log()


def test_credentials_are_made_rotated_and_deleted(console, service, keys):
    tab = console()
    page, gate = tab.page, tab.gate
    tab.admin("PUT", "/services/s", {"url": f"http://127.0.0.1:{service}"})
    tab.admin("PUT", "/services/s/routes/r", {"paths": ["/r"]})
    tab.admin("POST", "/routes/r/plugins", {"name": "jwt"})
    tab.admin("PUT", "/consumers/jane", {})
    tab.open("consumers/jane")

    # Generated: shown once, then never again.
    tab.press("Add a JWT credential")
    tab.press("Create JWT credential")
    shown = page.locator(".once code")
    expect(shown).to_have_count(2)
    key, secret = shown.all_text_contents()
    tab.shot("credential-shown-once")
    assert len(key) == len(secret) == 32
    tab.press("Done")
    assert secret not in page.content()
    page.reload()
    tab.settled()
    expect(page.get_by_role("cell", name=key, exact=True)).to_be_visible()
    assert secret not in page.content()

    def passes(key, secret):
        deadline = time.time() + 3
        while time.time() < deadline:
            if gate.get("/r", jwt.encode({"iss": key}, secret, algorithm="HS256")).status == 200:
                return True
            time.sleep(0.05)
        return False

    assert passes(key, secret)

    # Rotated: first a second one beside it, then the secret at once.
    tab.press(f"Rotate {key}")
    tab.press("Add")
    expect(shown).to_have_count(2)
    second, its_secret = shown.all_text_contents()
    assert passes(second, its_secret) and passes(key, secret)
    tab.press("Done")
    tab.press(f"Rotate {second}")
    page.get_by_text("Replace it now").click()
    tab.shot("credential-rotate")
    tab.press("Replace")
    expect(shown).to_have_count(1)
    (third,) = shown.all_text_contents()
    assert passes(second, third)
    assert gate.get("/r", jwt.encode({"iss": second}, its_secret, algorithm="HS256")).status == 401

    tab.press(f"Delete {key}")
    tab.shot("credential-delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("cell", name=key, exact=True)).to_have_count(0)
    assert gate.get("/r", jwt.encode({"iss": key}, secret, algorithm="HS256")).status == 401

    # A pasted key is checked at once; a private one never leaves the field.
    tab.press("Add a JWT credential")
    tab.field("algorithm").select_option("ES256")
    private, wrong, right = keys.private_pem("ES256"), keys.public_pem("ES384"), keys.public_pem("ES256")
    asked = len(tab.asked)
    tab.field("rsa_public_key").fill(private)
    expect(page.get_by_text("This is a private key. It was not sent.")).to_be_visible()
    expect(page.get_by_role("button", name="Create JWT credential")).to_be_disabled()
    time.sleep(0.5)
    assert all("PRIVATE" not in (request.post_data or "") for request in tab.asked[asked:])
    tab.shot("credential-private-key")
    tab.field("rsa_public_key").fill("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----")
    tab.field("algorithm").select_option("RS256")
    expect(tab.field("rsa_public_key")).to_have_attribute("aria-invalid", "true")
    tab.field("algorithm").select_option("ES256")
    tab.field("rsa_public_key").fill(right)
    expect(page.get_by_text("This key can be used with ES256.")).to_be_visible()
    tab.field("key").fill("es")
    tab.press("Create JWT credential")
    expect(page.get_by_role("cell", name="es", exact=True)).to_be_visible()
    token = jwt.encode({"iss": "es"}, keys.private_pem("ES256"), algorithm="ES256")
    deadline = time.time() + 3
    while gate.get("/r", token).status != 200 and time.time() < deadline:
        time.sleep(0.05)
    assert gate.get("/r", token).status == 200

    # The other kinds.
    tab.press("Add an API key")
    tab.press("Create API key")
    expect(shown).to_have_count(1)
    api_key = shown.text_content()
    tab.press("Done")
    assert api_key not in page.content()
    tab.press("Add an OAuth2 client")
    tab.press("Create OAuth2 client")
    expect(page.get_by_label("name", exact=True)).to_have_attribute("aria-invalid", "true")
    page.get_by_label("name", exact=True).fill("demo")
    tab.press("Create OAuth2 client")
    expect(shown).to_have_count(2)
    client_secret = shown.all_text_contents()[1]
    assert not client_secret.startswith("$"), "the hash was shown in place of the secret"
    assert tab.admin("GET", "/consumers/jane/oauth2")["data"][0]["client_secret"] != client_secret
    tab.shot("credentials-all")
    assert secret not in gate.log() and third not in gate.log() and client_secret not in gate.log()


DECLARED = """
_format_version: "3.0"
services:
- name: s
  url: http://127.0.0.1:{service}
  routes:
  - name: r
    paths: [/r]
    plugins:
    - name: jwt
consumers:
- username: alice
  jwt_secrets:
  - key: alice-key
    secret: alice-secret-of-32-bytes-or-more
"""

PAGES = ["", "inspect", "lookup", "live", "consumers", "consumers/new", "services", "services/new", "routes", "routes/new", "plugins",
         "plugins/new?name=openid-connect", "plugins/new?name=jwt", "keys", "oauth2", "configuration", "consumers/alice", "services/s", "routes/r"]


def test_without_a_database_it_reads_and_says_why_it_does_not_write(console, service):
    tab = console(DECLARED.format(service=service))
    page = tab.open("consumers/alice")
    expect(page.get_by_text("Read only: this gateway runs without a database")).to_be_visible()
    expect(page.get_by_text(str(tab.gate.config)).first).to_be_visible()
    expect(page.get_by_role("cell", name="alice-key", exact=True)).to_be_visible()
    for button in ("Save", "Delete", "Add a JWT credential", "Rotate alice-key"):
        expect(page.get_by_role("button", name=button)).to_have_count(0)
    assert "alice-secret-of-32-bytes-or-more" not in page.content()
    tab.shot("read-only")
    for kind in ("services", "routes", "plugins", "consumers"):
        tab.open(kind)
        expect(page.get_by_role("link", name="New ")).to_have_count(0)


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_page_is_usable_by_everybody(console, service, colours):
    tab = console(context={"color_scheme": colours})

    def put(path, body):
        tab.admin("PUT", f"/{path}", body)

    put("services/s", {"url": f"http://127.0.0.1:{service}"})
    put("services/s/routes/r", {"paths": ["/a-rather-long-prefix/of-a-path/that-goes-on-and-on", "/r"], "methods": ["GET", "POST"], "hosts": ["api.example.com"]})
    put("plugins/5f35b796-ced6-4c00-9b2a-90eef745f4f9", {"name": "jwt", "route": {"name": "r"}, "config": {"claims_to_verify": ["exp"]}})
    put("consumers/alice", {"custom_id": "a-7", "tags": ["gold", "north-west"]})
    put("consumers/alice/jwt/alice-key", {"secret": "alice-secret-of-32-bytes-or-more"})
    put("consumers/alice/oauth2/demo", {"name": "demo", "redirect_uris": ["https://a.example/cb"]})
    serious, wide = {}, {}
    for path in PAGES:
        page = tab.open(path)
        for details in page.locator("details").all():
            details.evaluate("(element) => { element.open = true; }")
        found = tab.serious()
        if found:
            serious[path] = found
        name = (path or "overview").replace("/", "-").replace("?", "-").replace("=", "-")
        if colours == "light":
            tab.shot(f"page-{name}")
        elif path in ("", "live", "consumers/alice", "inspect"):
            tab.shot(f"dark-{name}")
        page.set_viewport_size(PHONE)
        if tab.overflow() > 0:
            wide[path] = tab.overflow()
        if colours == "light":
            tab.shot(f"phone-{name}")
            found = tab.serious()
            if found:
                serious[f"{path} on a phone"] = found
        page.set_viewport_size({"width": 1280, "height": 900})
    assert serious == {}
    assert wide == {}, "wider than a phone"


def test_it_is_used_by_keyboard(console, service):
    """No mouse: from the address bar to a consumer that exists."""
    tab = console()
    page = tab.open("consumers")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("To the content")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("New consumer")
    page.keyboard.press("Enter")
    tab.heading("New consumer")
    expect(page.locator("h1")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("by-keyboard")
    page.keyboard.press("Enter")
    tab.heading("by-keyboard")
    page.get_by_role("button", name="Delete", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_with_the_gateway_killed_it_says_so_and_comes_back(console):
    tab = console()
    page = tab.open("consumers")
    tab.gate.process.kill()
    tab.gate.process.wait()
    expect(page.get_by_role("alert").get_by_text("The gateway does not answer")).to_be_visible()
    expect(page.get_by_text("No answer")).to_be_visible()
    tab.shot("gateway-killed")
    tab.gate.start()
    expect(page.get_by_text("Connected")).to_be_visible()
    expect(page.get_by_text("The gateway does not answer")).to_have_count(0)
    page.get_by_role("link", name="New consumer").click()
    tab.field("username").fill("after")
    tab.press("Create consumer")
    tab.heading("after")


def test_the_admin_token_is_asked_for_and_kept_in_memory_alone(console):
    tab = console(env={"PORTCULLIS_ADMIN_TOKEN": "open-sesame"})
    page = tab.open("consumers")
    tab.heading("Admin token")
    tab.shot("admin-token")
    assert tab.serious() == []
    tab.field("Admin token").fill("wrong")
    tab.press("Open")
    expect(page.get_by_text("This is not the token.")).to_be_visible()
    tab.field("Admin token").fill("open-sesame")
    tab.press("Open")
    tab.heading("Consumers")
    expect(page.get_by_text("$ADMIN_TOKEN").first).to_be_visible()
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
    assert "open-sesame" not in kept and "open-sesame" not in page.content()
    page.reload()
    tab.heading("Admin token")
    assert "open-sesame" not in tab.gate.log()
