"""Keys, tokens and declarative files: the same for every proxy."""

import base64
import functools
import json
import random
import secrets
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ALGORITHMS = ["HS256", "RS256", "ES256", "EdDSA"]
# Distinct tokens of each algorithm, sent in rotation; and where it is about many.
DISTINCT, MANY = 1000, 10_000
LIFETIME = 6 * 3600


def issuer(algorithm):
    return f"loadtest-{algorithm.lower()}"


def segment(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Material:
    """Fresh keys in `folder`, with good, expired and garbage tokens."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.secret = secrets.token_hex(24)
        self.private = {
            "HS256": self.secret,
            "RS256": rsa.generate_private_key(65537, 2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }
        self.public = {}
        for algorithm in ALGORITHMS:
            text = self.secret if algorithm == "HS256" else self.private[algorithm].public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ).decode()
            self.public[algorithm] = text
            self.key_file(algorithm).write_text(text)
        self.tokens = {algorithm: [self.mint(algorithm, n) for n in range(DISTINCT)] for algorithm in ALGORITHMS}
        self.tokens["expired"] = [self.mint(algorithm, 0, -60) for algorithm in ALGORITHMS]
        self.tokens["garbage"] = self.garbage()
        self.tokens["8k"] = [self.mint("HS256", n, padding="x" * 5700) for n in range(100)]
        self.tokens["bad"] = [self.tampered("HS256", n) for n in range(100)]
        self.file = folder / "tokens.json"
        self.file.write_text(json.dumps(self.tokens))

    def key_file(self, algorithm):
        return self.folder / f"{algorithm}.key"

    def mint(self, algorithm, number, lifetime=LIFETIME, headers=None, **claims):
        now = int(time.time())
        claims = {"iss": issuer(algorithm), "sub": f"user-{number:06d}", "aud": "api", "iat": now,
                  "exp": now + lifetime, "jti": secrets.token_hex(16), **claims}
        return jwt.encode(claims, self.private[algorithm], algorithm=algorithm, headers=headers)

    @functools.cache
    def many(self, algorithm):
        """Other tokens than `tokens`: signing them takes a while."""
        return [self.mint(algorithm, number) for number in range(MANY)]

    def tampered(self, algorithm, number):
        """A token with one bit of its signature flipped."""
        head, claims, signature = self.mint(algorithm, number).split(".")
        raw = bytearray(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
        raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)
        return f"{head}.{claims}.{segment(bytes(raw))}"

    def jwks(self, algorithm):
        """The key as a key set, in a file."""
        if algorithm == "HS256":
            key = {"kty": "oct", "k": segment(self.secret.encode())}
        else:
            kinds = {"RS256": jwt.algorithms.RSAAlgorithm, "ES256": jwt.algorithms.ECAlgorithm, "EdDSA": jwt.algorithms.OKPAlgorithm}
            key = json.loads(kinds[algorithm].to_jwk(self.private[algorithm].public_key()))
        file = self.folder / f"{algorithm}.jwks.json"
        file.write_text(json.dumps({"keys": [{**key, "alg": algorithm, "use": "sig"}]}))
        return file

    def garbage(self):
        made = [self.tampered(algorithm, number) for algorithm in ALGORITHMS for number in range(50)]
        made += [self.mint("HS256", number, iss=secrets.token_hex(8)) for number in range(50)]
        made += [segment(b'{"alg":"none"}') + "." + self.mint("HS256", n).split(".")[1] + "." for n in range(10)]
        deep = b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}"
        made += [f"{segment(deep)}.{segment(deep)}.AAAA", self.mint("HS256", 0, iss="x", padding="x" * 11000)]
        made += [secrets.token_urlsafe(200) for _ in range(20)]
        return made

    def requests_file(self, name, lines):
        """A file for wrk/tokens.lua."""
        file = self.folder / f"{name}.requests"
        file.write_text("".join(f"{path} {token}\n" for path, token in lines))
        return file

    def kong(self, service_port, generation=0):
        """A declarative file: one open route, one route an algorithm, one that tells the file's generation."""
        routes = [{"name": "open", "paths": ["/open"], "strip_path": False}]
        for algorithm in ALGORITHMS:
            routes.append({
                "name": algorithm, "paths": [f"/{algorithm}"], "strip_path": False,
                "plugins": [{"name": "jwt", "config": {"claims_to_verify": ["exp"]}}],
            })
        routes.append({
            "name": "generation", "paths": ["/generation"],
            "plugins": [{"name": "request-termination",
                         "config": {"status_code": 200, "message": f"generation-{generation}"}}],
        })
        consumers = []
        for algorithm in ALGORITHMS:
            credential = {"key": issuer(algorithm), "algorithm": algorithm}
            credential["secret" if algorithm == "HS256" else "rsa_public_key"] = self.public[algorithm]
            consumers.append({"username": algorithm.lower(), "jwt_secrets": [credential]})
        return json.dumps({
            "_format_version": "3.0",
            "services": [{"name": "loadtest", "url": f"http://127.0.0.1:{service_port}", "routes": routes}],
            "consumers": consumers,
        }, indent=1)


def oidc(service_port, issuer, cooldown):
    """A declarative file with one route for tokens of a provider."""
    plugin = {"name": "openid-connect", "config": {
        "issuer": issuer, "auth_methods": ["bearer"], "audience_required": ["loadtest"], "rediscovery_lifetime": cooldown,
    }}
    routes = [{"name": "open", "paths": ["/open"]}, {"name": "oidc", "paths": ["/oidc"], "plugins": [plugin]}]
    return json.dumps({
        "_format_version": "3.0",
        "services": [{"name": "loadtest", "url": f"http://127.0.0.1:{service_port}", "routes": routes}],
    }, indent=1)
