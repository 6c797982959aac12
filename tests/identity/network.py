"""Clients of a made-up world on 127.0.0.1: names that lead to ports, certificates for them, browsers and MCP clients.

Whoever asks for https://mcp.acme.example/mcp gets to the gateway's port, by TLS and with that name in SNI and Host: so
that the gateways see, and hand on, what they would see of the real thing.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from http_client import Mismatch, require

PUBLIC = "mcp.acme.example"
"""The gateway, to its clients."""

LOGIN = "login.acme.example"
"""The authorization server."""

REVISION = "2025-11-25"

PATIENCE = 15.0
"""Seconds that an answer may take: it takes milliseconds; the rest is for a busy machine."""

TOOLS = ("authContext", "bearerDecode", "printHeader", "corsAnalysis", "sessionInfo")
"""Those that judge a request."""


@dataclass
class Certificates:
    """One for all names, of an authority of its own."""

    authority: Path
    chain: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        day = datetime.timedelta(days=1)
        today = datetime.datetime.now(datetime.UTC)

        def signed(
            subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey, names: list[str]
        ) -> x509.Certificate:
            def named(name: str) -> x509.Name:
                return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

            builder = (
                x509.CertificateBuilder()
                .subject_name(named(subject))
                .issuer_name(named(issuer))
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(today - day)
                .not_valid_after(today + day)
                .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
            )
            if names:
                alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
                alternatives.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
                builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            return builder.sign(by, hashes.SHA256())

        root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        name = "authority of the identity test"
        pem = serialization.Encoding.PEM
        made = cls(folder / "authority.pem", folder / "chain.pem", folder / "key.pem")
        authority = signed(name, root, name, root, []).public_bytes(pem)
        made.authority.write_bytes(authority)
        names = [PUBLIC, LOGIN, "localhost"]
        # HAProxy and Caddy read certificate and key from one file or two: both are there.
        chain = signed(PUBLIC, leaf, name, root, names).public_bytes(pem) + authority
        key = leaf.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        made.chain.write_bytes(chain)
        made.key.write_bytes(key)
        (folder / "both.pem").write_bytes(chain + key)
        return made

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority))


class Network(httpx.BaseTransport):
    """Leads names to ports: `{"mcp.acme.example": ("https", 8443)}`."""

    def __init__(self, routes: dict[str, tuple[str, int]], certificates: Certificates, http2: bool = True) -> None:
        self.routes = routes
        self.inner = httpx.HTTPTransport(verify=certificates.context(), http2=http2, trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host
        require(name in self.routes, f"nobody is called {name}")
        scheme, port = self.routes[name]
        url = request.url.copy_with(scheme=scheme, host="127.0.0.1", port=port)
        headers = request.headers.multi_items()
        if scheme == "http":
            # As the proxy would that takes TLS off in front of it.
            headers.append(("X-Forwarded-Proto", "https"))
        return self.inner.handle_request(
            httpx.Request(
                request.method,
                url,
                headers=headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": name},
            )
        )

    def close(self) -> None:
        self.inner.close()


Headers = list[tuple[str, str]]


@dataclass
class Seen:
    """What the five tools said about requests with the same headers."""

    structured: dict[str, dict[str, Any]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def findings(self) -> dict[str, dict[str, Any]]:
        """By id; a tool that judges a fact another way than the others is a mistake of its own."""
        found: dict[str, dict[str, Any]] = {}
        for tool, content in self.structured.items():
            for each in content.get("findings", []):
                before = found.setdefault(each["id"], each)
                same = before["severity"] == each["severity"] and before["fix"] == each["fix"]
                require(same, f"{tool} judges {each['id']} another way than the tools before")
        return found


class McpClient:
    """An MCP client of the handshake era behind a gateway, or whatever sends these headers."""

    def __init__(
        self, port: int, certificates: Certificates, path: str, headers: Headers, name: str, http2: bool = True
    ) -> None:
        network = Network({PUBLIC: ("https", port)}, certificates, http2)
        self.http = httpx.Client(transport=network, timeout=PATIENCE, trust_env=False)
        self.url = f"https://{PUBLIC}{path}"
        self.headers = headers
        self.name = name
        self.session: str | None = None
        self.calls = 0

    def close(self) -> None:
        self.http.close()

    def all_headers(self, more: Iterable[tuple[str, str]] = ()) -> Headers:
        session = [("Mcp-Session-Id", self.session), ("MCP-Protocol-Version", REVISION)] if self.session else []
        # Not httpx's own, which tells the client's release: recordings are to stay the same.
        return [("User-Agent", "acme-client/1.0"), ("Accept-Encoding", "identity"), *session, *self.headers, *more]

    def send(self, method: str, body: Any = None, accept: str = "application/json, text/event-stream") -> httpx.Response:
        more = [("Accept", accept)]
        content = None
        if body is not None:
            more.append(("Content-Type", "application/json"))
            content = json.dumps(body).encode()
        headers = self.all_headers(more)
        try:
            return self.http.request(method, self.url, headers=headers, content=content)
        except (httpx.WriteError, httpx.RemoteProtocolError):
            # A gateway that refuses by the head alone may close before the body is sent: HAProxy does.
            return self.http.request(method, self.url, headers=headers, content=content)

    def post(self, method: str, params: Any = None) -> httpx.Response:
        self.calls += 1
        given = {} if params is None else {"params": params}
        return self.send("POST", {"jsonrpc": "2.0", "id": self.calls, "method": method, **given})

    def initialize(self) -> httpx.Response:
        self.session = None
        client = {"name": self.name, "version": "1.0"}
        answer = self.post("initialize", {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": client})
        if answer.status_code == 200:
            self.session = answer.headers["Mcp-Session-Id"]
            ready = self.send("POST", {"jsonrpc": "2.0", "method": "notifications/initialized"})
            require(ready.status_code == 202, f"notifications/initialized: {ready.status_code} {ready.text[:200]}")
        return answer

    def tool(self, name: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self.post("tools/call", {"name": name, "arguments": arguments or {}})
        require(answer.status_code == 200, f"{name}: {answer.status_code} {answer.text[:300]!r}")
        result: dict[str, Any] = answer.json().get("result") or {}
        require(result and not result["isError"], f"{name}: {answer.text[:300]!r}")
        return result

    def look(self) -> Seen:
        seen = Seen()
        for tool in TOOLS:
            result = self.tool(tool)
            seen.structured[tool] = result["structuredContent"]
            seen.texts[tool] = result["content"][0]["text"]
        return seen

    def delete(self) -> None:
        self.send("DELETE")
        self.session = None

    def stream_until_cut(self, patience: float) -> float:
        """Opens the GET stream and reads until the other end ends it: the seconds that took."""
        began = time.monotonic()
        headers = self.all_headers([("Accept", "text/event-stream")])
        timeout = httpx.Timeout(PATIENCE, read=patience)
        try:
            with self.http.stream("GET", self.url, headers=headers, timeout=timeout) as response:
                if response.status_code >= 500:
                    # Some gateways answer by themselves when nothing has come from the server.
                    return time.monotonic() - began
                require(response.status_code == 200, f"GET: {response.status_code}")
                with closing(response.iter_raw()) as pieces:
                    for _ in pieces:
                        if time.monotonic() - began > patience:
                            raise Mismatch(f"the stream was not cut within {patience:g} s")
        except (httpx.RemoteProtocolError, httpx.ReadError):
            pass
        return time.monotonic() - began
