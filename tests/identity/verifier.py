"""What gateways ask that cannot check tokens by themselves: a service of the kind that people write for auth_request.

GET /verify...: 200 with X-User-Id and X-User-Name when the bearer is a token of one of the issuers, else 401 with a challenge.
A JWT is checked by its keys, with its times and its audience; any other token by introspection (RFC 7662).
"""

from __future__ import annotations

import json
import threading
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt

NAMES = {"1001": "alice", "1002": "bob"}


class Verifier(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, main: str, issuers: list[str], audiences: set[str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.main = main
        self.keys = {kid: key for issuer in issuers for kid, key in keys(issuer).items()}
        self.audiences = audiences
        self.port: int = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()

    def user(self, token: str) -> str | None:
        """Whose token it is."""
        if token.count(".") == 2:
            try:
                key = self.keys[jwt.get_unverified_header(token)["kid"]]
                claims = jwt.decode(token, key, ["RS256"], audience=list(self.audiences))
            except (jwt.PyJWTError, KeyError):
                return None
            return str(claims["sub"])
        form = urllib.parse.urlencode({"token": token, "client_id": "client"}).encode()
        answer = fetched(f"{self.main}/token/introspection", form)
        return str(answer["sub"]) if answer.get("active") else None


class Handler(BaseHTTPRequestHandler):
    server: Verifier
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        user = self.server.user(token.strip()) if scheme.lower() in ("bearer", "dpop") else None
        self.send_response(200 if user else 401)
        if user:
            self.send_header("X-User-Id", user)
            self.send_header("X-User-Name", NAMES[user])
        else:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Length", "0")
        self.end_headers()

    # Envoy's ext_authz asks with the request's own method.
    do_POST = do_DELETE = do_OPTIONS = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


def fetched(url: str, form: bytes | None = None) -> dict[str, Any]:
    with urllib.request.urlopen(url, form, timeout=5) as answer:
        content: dict[str, Any] = json.load(answer)
        return content


def keys(issuer: str) -> dict[str, Any]:
    return {key["kid"]: jwt.PyJWK(key).key for key in fetched(f"{issuer}/jwks")["keys"]}
