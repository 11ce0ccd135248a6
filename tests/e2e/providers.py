"""Identity providers that are somebody else's: installed from their registry, started on ports of their own, asked over HTTP.

Each has the users john (groups staff and staff/billing, roles reader and writer) and alex (guests, reader), both with the
password `doe`; the client `gateway` with the secret `gateway-secret`, which may do everything; and `batch`, which may not.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import urllib.parse
import zipfile

from conftest import ROOT, fetch, free_port

HERE = pathlib.Path(__file__).resolve().parent
CACHE = ROOT / "target/e2e"
AUDIENCE = "https://api.example.test"


class Provider:
    """What the suites ask of a provider. `issuer` is its identifier, `token_endpoint` where grants are sent."""

    client, secret = "gateway", "gateway-secret"
    process = None
    #: Settings of the plugin that this provider needs.
    settings = {}
    #: Settings of a client that authenticates with HTTP Basic.
    with_basic = {"client_auth": ["client_secret_basic"]}
    #: Parameters of a grant whose access token is a JWT for AUDIENCE.
    for_api = {}

    def grant(self, **form):
        """Asks the token endpoint; the answer's JSON."""
        answer = self.post(self.token_endpoint, **form)
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def token(self, username="john", scope="openid", **more):
        """An access token of a user."""
        form = {**self.for_api, **more}
        return self.grant(grant_type="password", username=username, password="doe", scope=scope, **form)["access_token"]

    def client_token(self, scope="openid"):
        """An access token of the client itself."""
        return self.grant(grant_type="client_credentials", scope=scope, **self.for_api)["access_token"]

    def post(self, url, **form):
        form = {"client_id": self.client, "client_secret": self.secret, **form}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return fetch(url, headers, method="POST", data=urllib.parse.urlencode(form).encode())

    def spawn(self, command, folder, env, ready, seconds):
        folder.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / "output.log"
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log_file.read_text(errors="replace")[-4000:]
            with contextlib.suppress(OSError):
                if fetch(ready).status == 200:
                    return self
            time.sleep(0.2)
        self.stop()
        raise AssertionError(f"did not start in {seconds} s\n" + self.log_file.read_text(errors="replace")[-4000:])

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def alive(self):
        return self.process is not None and self.process.poll() is None


@contextlib.contextmanager
def locked(name):
    """One process at a time installs something."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Keycloak(Provider):
    """Keycloak, from Maven Central with the mvn client; the realm is `keycloak/realm.json`."""

    name = "keycloak"
    VERSION = "26.0.8"
    SHA256 = "d82a52098db41f036bcfe8f2ebfd9251781c8af5959af8714e8aa9b311081786"
    jwt_type = "JWT"
    marks_id_tokens = True

    @classmethod
    def install(cls):
        """The folder of the server, built for a start without further work; made once."""
        home = CACHE / f"keycloak-{cls.VERSION}"
        with locked("keycloak"):
            if not (home / "ready").exists():
                work = CACHE / "keycloak-install"
                shutil.rmtree(work, ignore_errors=True)
                shutil.rmtree(home, ignore_errors=True)
                work.mkdir()
                subprocess.run(
                    ["mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.6.0:copy",
                     f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{cls.VERSION}:zip", f"-DoutputDirectory={work}"],
                    cwd=work, check=True, timeout=900,
                )
                archive = work / f"keycloak-quarkus-dist-{cls.VERSION}.zip"
                with archive.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") \
                        else hashlib.sha256(file.read()).hexdigest()
                assert digest == cls.SHA256, f"{archive.name} is not the file it should be: {digest}"
                with zipfile.ZipFile(archive) as packed:
                    packed.extractall(work)
                made = work / f"keycloak-{cls.VERSION}"
                subprocess.run(["bash", "bin/kc.sh", "build", "--db=dev-file"], cwd=made, check=True, timeout=600)
                (made / "ready").touch()
                made.rename(home)
                shutil.rmtree(work, ignore_errors=True)
        return home

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.issuer = f"{self.base}/realms/portcullis"
        self.token_endpoint = f"{self.issuer}/protocol/openid-connect/token"
        self.home = folder / "keycloak"
        # A server of its own: its data lies below its folder. The files are links, nothing writes to them.
        shutil.copytree(self.install(), self.home, copy_function=os.link)
        imported = self.home / "data/import"
        imported.mkdir(parents=True)
        shutil.copy(HERE / "keycloak/realm.json", imported)

    def start(self):
        env = dict(os.environ, KC_BOOTSTRAP_ADMIN_USERNAME="admin", KC_BOOTSTRAP_ADMIN_PASSWORD="admin")
        command = ["bash", str(self.home / "bin/kc.sh"), "start", "--optimized", "--import-realm", "--http-enabled=true",
                   "--http-host=127.0.0.1", f"--http-port={self.port}", "--hostname-strict=false", "--cache=local"]
        return self.spawn(command, self.folder, env, f"{self.issuer}/.well-known/openid-configuration", 240)

    def opaque_token(self, username="john", scope="openid"):
        """Keycloak's access tokens are all JWTs; where `bearer` is off the gateway does not look into them."""
        return self.token(username, scope)

    def short_lived(self):
        return self.grant(client_id="brief", client_secret="brief-secret", grant_type="client_credentials")

    def revoke(self, token):
        answer = self.post(f"{self.issuer}/protocol/openid-connect/revoke", token=token)
        assert answer.status == 200, answer

    def admin(self, method, path, body=None):
        """The Admin REST API of the realm."""
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": "admin"}
        answer = fetch(f"{self.base}/realms/master/protocol/openid-connect/token",
                       {"Content-Type": "application/x-www-form-urlencoded"}, "POST", urllib.parse.urlencode(form).encode())
        assert answer.status == 200, answer
        headers = {"Authorization": "Bearer " + json.loads(answer.body)["access_token"], "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        answer = fetch(f"{self.base}/admin/realms/portcullis{path}", headers, method, data)
        assert answer.status < 300, answer
        return json.loads(answer.body) if answer.body else None

    def signing_providers(self):
        """The realm's providers of RS256 keys, the one that signs first."""
        found = self.admin("GET", "/components?type=org.keycloak.keys.KeyProvider")
        found = [one for one in found if one["providerId"] == "rsa-generated"]
        return sorted(found, key=lambda one: -int(one["config"].get("priority", ["0"])[0]))

    def rotate(self):
        """A new key signs from now on; the ones before stay published."""
        highest = int(self.signing_providers()[0]["config"].get("priority", ["0"])[0])
        realm = self.admin("GET", "")["id"]
        self.admin("POST", "/components", {
            "name": f"rsa-{highest + 100}", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
            "parentId": realm,
            "config": {"priority": [str(highest + 100)], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"], "keySize": ["2048"]},
        })

    def withdraw(self):
        """Keys that no longer sign are published no longer."""
        for old in self.signing_providers()[1:]:
            old["config"]["enabled"], old["config"]["active"] = ["false"], ["false"]
            self.admin("PUT", f"/components/{old['id']}", old)


class OidcProvider(Provider):
    """oidc-provider from npm, in `oidc-provider/server.mjs`: JWTs of RFC 9068 for a resource, opaque tokens otherwise."""

    name = "oidc_provider"
    jwt_type = "at+jwt"
    marks_id_tokens = False
    for_api = {"resource": AUDIENCE}
    settings = {"token_post_args_names": ["resource"], "token_post_args_values": [AUDIENCE]}
    with_basic = {"client_id": ["gateway-basic"], "client_secret": ["gateway-basic-secret"], "client_auth": ["client_secret_basic"]}

    @classmethod
    def install(cls):
        home = CACHE / "oidc-provider"
        with locked("oidc-provider"):
            home.mkdir(exist_ok=True)
            for file in (HERE / "oidc-provider").iterdir():
                shutil.copy(file, home)
            lock = (home / "package-lock.json").read_text()
            if not (home / "installed").exists() or (home / "installed").read_text() != lock:
                subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=home, check=True, timeout=600)
                (home / "installed").write_text(lock)
        return home

    def __init__(self, folder):
        self.folder, self.port, self.home = folder, free_port(), self.install()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.token_endpoint = f"{self.issuer}/token"

    def start(self):
        command = ["node", str(self.home / "server.mjs"), str(self.port)]
        return self.spawn(command, self.folder, dict(os.environ), f"{self.issuer}/.well-known/openid-configuration", 60)

    def opaque_token(self, username="john", scope="openid"):
        token = self.grant(grant_type="password", username=username, password="doe", scope=scope)["access_token"]
        assert "." not in token
        return token

    def short_lived(self):
        return self.grant(client_id="brief", client_secret="brief-secret", grant_type="client_credentials", **self.for_api)

    def revoke(self, token):
        answer = self.post(f"{self.issuer}/token/revocation", token=token)
        assert answer.status == 200, answer

    def rotate(self):
        assert fetch(f"{self.issuer}/control/rotate", method="POST", data=b"").status == 200

    def withdraw(self):
        assert fetch(f"{self.issuer}/control/withdraw", method="POST", data=b"").status == 200


PROVIDERS = {one.name: one for one in (Keycloak, OidcProvider)}

