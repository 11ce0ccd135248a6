"""A real browser on the gateway's console."""

import json
import os
import pathlib
import re
import shutil

from playwright.sync_api import expect, sync_playwright

from conftest import fetch

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Kept to be looked at; what must hold is asserted.
SHOTS = ROOT / "target/e2e/screenshots"
AXE = pathlib.Path(os.environ.get("E2E_CONSOLE", ROOT / "console")) / "node_modules/axe-core/axe.min.js"

PHONE = {"width": 375, "height": 812}
DESK = {"width": 1280, "height": 900}


class Browser:
    """One Chromium for a test session."""

    def __init__(self):
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.playwright = sync_playwright().start()
        # Containers have little /dev/shm, and root has no sandbox.
        arguments = ["--disable-dev-shm-usage"] + ([] if os.getuid() else ["--no-sandbox"])
        self.chromium = self.playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)

    def console(self, gate, **context):
        return Console(self.chromium.new_context(viewport=DESK, **context), gate)

    def close(self):
        self.chromium.close()
        self.playwright.stop()


class Console:
    """A tab with the console of one gateway. What it asks, and what goes wrong in it, is kept."""

    def __init__(self, context, gate):
        self.context, self.gate = context, gate
        self.base = f"http://127.0.0.1:{gate.console}/"
        self.asked, self.faults = [], []
        self.page = context.new_page()
        self.page.set_default_timeout(10_000)
        self.page.on("request", lambda request: self.asked.append(request))
        self.page.on("pageerror", lambda fault: self.faults.append(str(fault)))
        self.page.on("console", self._told)

    def _told(self, message):
        # A refused request is for the page to show; Chromium notes each of them as well.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    def admin(self, method, path, body=None):
        """What the Admin API answers, asked without the browser."""
        data = None if body is None else json.dumps(body).encode()
        answer = fetch(self.gate.admin_url(path), {"Content-Type": "application/json"}, method, data)
        assert answer.status < 300, answer
        return json.loads(answer.body) if answer.body else None

    def open(self, path=""):
        self.page.goto(self.base + "#/" + path)
        expect(self.page.locator("main h1")).to_be_visible()
        self.settled()
        return self.page

    def settled(self):
        """Waits until nothing is being loaded."""
        expect(self.page.locator("[aria-busy=true]")).to_have_count(0)

    def field(self, label):
        # The label is the field's name, with a star where it must be filled in.
        return self.page.get_by_label(re.compile(rf"^{re.escape(label)}( \*)?$"))

    def press(self, name):
        self.page.get_by_role("button", name=name, exact=True).click()

    def heading(self, text):
        expect(self.page.get_by_role("heading", level=1, name=text)).to_be_visible()
        self.settled()

    def shot(self, name):
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    def overflow(self):
        """By how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def serious(self):
        """What axe finds that keeps people from using the page."""
        self.page.evaluate(AXE.read_text() + ";0")
        found = json.loads(self.page.evaluate("axe.run().then((result) => JSON.stringify(result.violations))"))
        return [
            f"{one['id']} ({one['impact']}): {one['help']}: {[node['html'][:120] for node in one['nodes'][:3]]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
