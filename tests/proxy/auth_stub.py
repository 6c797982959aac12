#!/usr/bin/env python3
"""A stand-in for an OAuth gateway's auth service: just enough to try the server behind a proxy. Never for production.

    auth_stub.py [--host 127.0.0.1] [--port 8000] [--issuer URL]

    GET  /verify    what ForwardAuth (Traefik), auth_request (nginx) or forward_auth (Caddy) ask: 200 with X-User-Id,
                    X-User-Name and X-Auth-Token, or 401 with a challenge
    POST /token     OAuth's client credentials grant (RFC 6749 section 4.4), for the users below
    GET  /.well-known/oauth-protected-resource...    RFC 9728, for whatever path follows
    GET  /.well-known/oauth-authorization-server     RFC 8414
    GET  /seen      the last questions to /verify and their answers, oldest first, without tokens
    GET  /healthz

The users are `alice` (id 1001) and `bob` (id 1002), each with its name for a secret:

    curl -sS -u alice:alice -d grant_type=client_credentials http://127.0.0.1:8000/token

A token is a JWT that lives an hour, with the `resource` of the request (RFC 8707) as its audience. Public URLs are made
of the X-Forwarded-* headers of the request, as a proxy sets them. Python 3.9 or later, standard library only; SIGTERM
and SIGINT end it.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import re
import signal
import threading
import time
import uuid
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

USERS = {"alice": "1001", "bob": "1002"}
"""Name and secret, and the id that becomes `sub` and X-User-Id."""

LIFETIME = 3600
"""Seconds that a token lives."""

KEY = b"everybody knows this key: tokens of the stub are worth nothing"
"""Fixed, so that tokens outlive a restart."""

MOST_SEEN = 1000
"""Questions to /verify that are remembered."""

MOST_BODY = 16 * 1024
"""Bytes of a form that are read."""

PROTECTED_RESOURCE = "/.well-known/oauth-protected-resource"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def signature(signed: str) -> str:
    return encoded(hmac.new(KEY, signed.encode(), hashlib.sha256).digest())


def new_token(issuer: str, name: str, resource: str | None) -> str:
    """An access token as RFC 9068 has it, but for its symmetric key."""
    now = int(time.time())
    claims: dict[str, Any] = {"iss": issuer, "sub": USERS[name], "name": name, "client_id": name, "scope": "mcp"}
    claims |= {"aud": resource} if resource else {}
    claims |= {"jti": str(uuid.uuid4()), "iat": now, "exp": now + LIFETIME}
    segments = [encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "at+jwt"}, claims)]
    signed = ".".join(segments)
    return f"{signed}.{signature(signed)}"


class Refused(Exception):
    """Why a token is refused."""


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a token that the stub made and that has not expired."""
    signed, _, signed_with = token.rpartition(".")
    if not hmac.compare_digest(signature(signed).encode(), signed_with.encode()):
        raise Refused("not a token of this issuer")
    claims: dict[str, Any] = json.loads(decoded(signed.split(".")[1]))
    if claims["exp"] <= time.time():
        raise Refused("the token expired")
    return claims


class Stub(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, issuer: str | None) -> None:
        super().__init__((host, port), Handler)
        self.issuer = (issuer or f"http://{host}:{self.server_port}").rstrip("/")
        self.seen: deque[dict[str, Any]] = deque(maxlen=MOST_SEEN)


class Handler(BaseHTTPRequestHandler):
    server: Stub
    server_version = "auth-stub"
    protocol_version = "HTTP/1.1"
    # Head and body are two writes: with Nagle's algorithm the second would wait for the proxy's acknowledgement.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/verify":
            self.verify()
        elif path == PROTECTED_RESOURCE or path.startswith(PROTECTED_RESOURCE + "/"):
            resource = self.public_url() + path[len(PROTECTED_RESOURCE) :]
            self.answer(
                200, {"resource": resource, "authorization_servers": [self.server.issuer], "scopes_supported": ["mcp"]}
            )
        elif path == "/.well-known/oauth-authorization-server":
            self.answer(200, self.metadata())
        elif path == "/seen":
            self.answer(200, list(self.server.seen))
        elif path == "/healthz":
            self.answer(200, {"status": "ok"})
        else:
            self.answer(404, {"error": "not_found"})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MOST_BODY:
            self.close_connection = True
            self.answer(413, {"error": "invalid_request"})
            return
        form = parse_qs(self.rfile.read(int(length)).decode(errors="replace"))
        if urlsplit(self.path).path == "/token":
            self.token({name: values[-1] for name, values in form.items()})
        else:
            self.answer(404, {"error": "not_found"})

    def verify(self) -> None:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        user, problem = None, None
        if token:
            try:
                user = claims_of(token)
            # A token of someone else may hold anything.
            except (Refused, ValueError, KeyError, IndexError, TypeError) as error:
                problem = str(error) if isinstance(error, Refused) else "not a token of this issuer"
        about = {name: self.headers.get(f"X-Forwarded-{name}") for name in ("Method", "Proto", "Host", "Uri")}
        self.server.seen.append({**about, "user": user and user["sub"], "status": 200 if user else 401})
        if user:
            identity = {"X-User-Id": user["sub"], "X-User-Name": user["name"], "X-Auth-Token": token}
            self.answer(200, None, identity)
            return
        where = urlsplit(about["Uri"] or "").path
        where = where if re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", where) else ""
        challenge = f'Bearer resource_metadata="{self.public_url()}{PROTECTED_RESOURCE}{where}"'
        if problem:
            challenge += f', error="invalid_token", error_description="{problem}"'
        body = {
            "error": "invalid_token" if problem else "unauthorized",
            "error_description": problem or "no bearer token",
        }
        self.answer(401, body, {"WWW-Authenticate": challenge})

    def token(self, form: dict[str, str]) -> None:
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        scheme, _, credentials = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                pair = base64.b64decode(credentials).decode()
            except (binascii.Error, UnicodeDecodeError):
                pair = ""
            name, secret = (unquote_plus(part) for part in pair.partition(":")[::2])
        if form.get("grant_type") != "client_credentials":
            self.answer(400, {"error": "unsupported_grant_type"})
        elif name not in USERS or secret != name:
            self.answer(401, {"error": "invalid_client"}, {"WWW-Authenticate": "Basic"})
        else:
            token = new_token(self.server.issuer, name, form.get("resource"))
            body = {"access_token": token, "token_type": "Bearer", "expires_in": LIFETIME, "scope": "mcp"}
            self.answer(200, body, {"Cache-Control": "no-store"})

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.server.issuer,
            "token_endpoint": f"{self.server.issuer}/token",
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "scopes_supported": ["mcp"],
        }

    def public_url(self) -> str:
        """Scheme and authority by which the client asked the proxy."""
        scheme = "https" if self.headers.get("X-Forwarded-Proto") == "https" else "http"
        host = self.headers.get("X-Forwarded-Host") or self.headers.get("Host") or ""
        # It goes into a quoted string of a header.
        return f"{scheme}://{host}" if re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", host) else self.server.issuer

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = b"" if body is None else json.dumps(body).encode() + b"\n"
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if content:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        # Standard error is for mistakes; /seen says what was asked.
        pass


def main() -> None:
    parser = argparse.ArgumentParser(
        description="A stand-in for an OAuth gateway's auth service. Never for production."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8000, help="port to listen on, 0 for a free one (default: %(default)s)"
    )
    parser.add_argument("--issuer", help="the stub's public URL (default: the address it listens on)")
    options = parser.parse_args()
    stub = Stub(options.host, options.port, options.issuer)
    # Not a KeyboardInterrupt: as process 1 of a container, Python ignores signals that nobody handles.
    for number in (signal.SIGTERM, signal.SIGINT):
        # From a thread of its own: shutdown() waits for the loop that the handler interrupts.
        signal.signal(number, lambda *_: threading.Thread(target=stub.shutdown).start())
    print(f"listening on http://{options.host}:{stub.server_port}", flush=True)
    stub.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
