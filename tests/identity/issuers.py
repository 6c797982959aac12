"""The authorization servers, and the tokens that they give: by code and PKCE, as a browser and a client get them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from http_client import Mismatch, require, until
from network import LOGIN, PATIENCE, PUBLIC, Certificates, Network
from process import Program, free_port

CALLBACK = "https://client.acme.example/callback"
"""Where the made-up client waits; nobody goes there, the code is read from the redirect."""

MOST_REDIRECTS = 10


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(segment: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))


class Browser:
    """Goes wherever it is led, with cookies, until somebody shows something or the way leads out of this world."""

    def __init__(self, network: Network, user: str) -> None:
        self.http = httpx.Client(transport=network, timeout=PATIENCE, trust_env=False)
        self.routes = network.routes
        self.user = user

    def close(self) -> None:
        self.http.close()

    def go(self, url: str) -> tuple[str, httpx.Response | None]:
        """Where the way ended, and what was shown there."""
        for _ in range(MOST_REDIRECTS):
            parts = httpx.URL(url)
            if parts.host not in self.routes:
                return url, None
            if parts.path == "/auth":
                parts = parts.copy_merge_params({"login_hint": self.user})
            answer = self.http.get(parts, headers={"Accept": "text/html"})
            if not answer.is_redirect:
                return url, answer
            url = str(httpx.URL(url).join(answer.headers["Location"]))
        raise Mismatch(f"more than {MOST_REDIRECTS} redirects, the last to {url}")


class Key:
    """A client's key for DPoP (RFC 9449)."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        public: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        self.public = {name: public[name] for name in ("kty", "crv", "x", "y")}

    def proof(self, method: str, url: str, token: str | None = None, age: int = 0) -> str:
        claims: dict[str, Any] = {"jti": str(uuid.uuid4()), "htm": method, "htu": url, "iat": int(time.time()) - age}
        if token:
            claims["ath"] = encoded(hashlib.sha256(token.encode()).digest())
        return jwt.encode(claims, self.private, "ES256", {"typ": "dpop+jwt", "jwk": self.public})


@dataclass
class Provider:
    """oidc-provider: `main` as https://login.acme.example, `open` by its address."""

    program: Program
    main: str
    """Where https://login.acme.example listens: `http://127.0.0.1:PORT`."""
    secure: str
    """The same by https."""
    open: str
    jwks: dict[str, Any]
    jwks_file: Path
    certificates: Certificates
    tokens: dict[str, str] = field(default_factory=dict)

    @classmethod
    def start(cls, node: str, script: Path, folder: Path, certificates: Certificates) -> Provider:
        program = Program("oidc-provider", [node, "--no-warnings", str(script), f"https://{LOGIN}", str(certificates.chain), str(certificates.key)], trusted=True)
        try:
            said = json.loads(program.line(r"^\{.*")[0])
        except Mismatch:
            program.stop()
            raise
        file = folder / "jwks.json"
        file.write_text(json.dumps(said["main"]["jwks"]))
        file.chmod(0o644)
        return cls(program, said["main"]["address"], said["main"]["secure"], said["open"]["address"], said["main"]["jwks"], file, certificates)

    @property
    def port(self) -> int:
        return int(self.main.rpartition(":")[2])

    def network(self, **others: tuple[str, int]) -> Network:
        return Network({LOGIN: ("http", self.port), **others}, self.certificates)

    def grant(
        self, user: str, resource: str | None, client: str = "client", scope: str = "openid mcp:tools", key: Key | None = None
    ) -> dict[str, Any]:
        """The answer of the token endpoint."""
        verifier = encoded(os.urandom(32))
        asked = {
            "client_id": client,
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": scope,
            "state": "s",
            "nonce": "n",
            "code_challenge": encoded(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
            **({"resource": resource} if resource else {}),
        }
        browser = Browser(self.network(), user)
        try:
            end, shown = browser.go(f"https://{LOGIN}/auth?{urlencode(asked)}")
            require(shown is None, f"the login ended at {end}: {shown and shown.text[:500]}")
            answer = parse_qs(urlsplit(end).query)
            require("code" in answer, f"no code: {end}")
            form = {
                "grant_type": "authorization_code",
                "client_id": client,
                "code": answer["code"][0],
                "redirect_uri": CALLBACK,
                "code_verifier": verifier,
                **({"resource": resource} if resource else {}),
            }
            return self.token(browser.http, form, key)
        finally:
            browser.close()

    def token(self, http: httpx.Client, form: dict[str, str], key: Key | None = None) -> dict[str, Any]:
        url = f"https://{LOGIN}/token"
        headers = {"DPoP": key.proof("POST", url)} if key else {}
        answer = http.post(url, data=form, headers=headers)
        require(answer.status_code == 200, f"no token: {answer.status_code} {answer.text[:500]}")
        got: dict[str, Any] = answer.json()
        return got

    def issue(self, key: Key) -> None:
        """All the tokens that the cases name."""
        mcp = f"https://{PUBLIC}/mcp"
        first = self.grant("alice", mcp)
        self.tokens["alice"], self.tokens["id token"] = first["access_token"], first["id_token"]
        network = self.network()
        with httpx.Client(transport=network, timeout=PATIENCE, trust_env=False) as http:
            form = {"grant_type": "refresh_token", "client_id": "client", "refresh_token": first["refresh_token"]}
            self.tokens["alice, refreshed"] = self.token(http, form)["access_token"]
        self.tokens["bob"] = self.grant("bob", mcp)["access_token"]
        self.tokens["for /tools/mcp"] = self.grant("alice", f"https://{PUBLIC}/tools/mcp")["access_token"]
        self.tokens["for another"] = self.grant("alice", "https://other.acme.example/mcp")["access_token"]
        self.tokens["opaque"] = self.grant("alice", None, scope="openid profile email")["access_token"]
        self.tokens["encrypted"] = self.grant("alice", "https://vault.acme.example/mcp")["access_token"]
        self.tokens["bound"] = self.grant("alice", mcp, key=key)["access_token"]
        self.tokens["expired"] = self.grant("alice", mcp, client="client-short")["access_token"]
        head, claims, signature = self.tokens["alice"].split(".")
        forged = encoded(json.dumps({**decoded(claims), "sub": "root"}).encode())
        self.tokens["forged"] = f"{head}.{forged}.{signature}"
        ends = decoded(self.tokens["expired"].split(".")[1])["exp"]
        until("the short token has expired", lambda: time.time() > ends + 1)

