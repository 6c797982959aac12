"""A client in front of a proxy in front of a server: what the checks are written with."""

from __future__ import annotations

import json
import threading
import traceback
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from http_client import Answer, Connection, Mismatch, Stream, equal, require
from programs import HOST, AuthStub, Server

REVISION = "2025-11-25"
STATELESS = "2026-07-28"


class User:
    """A client that is logged in, or not."""

    def __init__(self, address: tuple[str, int], host: str, token: str | None) -> None:
        self.address, self.host = address, host
        self.connection = Connection(address, host)
        self.headers = {"Accept": "application/json, text/event-stream"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        self.session: str | None = None
        self.calls = 0

    def in_session(self, headers: dict[str, str] | None = None) -> dict[str, str]:
        named = {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": REVISION} if self.session else {}
        return {**self.headers, **named, **(headers or {})}

    def request(self, method: str, path: str, headers: dict[str, str] | None = None, body: Any = None) -> Answer:
        return self.connection.request(method, path, self.in_session(headers), body)

    def post(self, method: str, params: Any = None, headers: dict[str, str] | None = None) -> Answer:
        self.calls += 1
        body = {
            "jsonrpc": "2.0",
            "id": self.calls,
            "method": method,
            **({"params": params} if params is not None else {}),
        }
        return self.request("POST", "/mcp", headers, body)

    def initialize(self) -> Answer:
        answer = self.initialize_only()
        ready = self.request("POST", "/mcp", None, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        ready.expect(202, "notifications/initialized")
        return answer

    def initialize_only(self) -> Answer:
        self.session = None
        client = {"name": "proxy-test", "version": "1"}
        answer = self.post("initialize", {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": client})
        answer.expect(200, "initialize")
        equal(answer.json["result"]["protocolVersion"], REVISION, "the revision")
        self.session = answer.one("Mcp-Session-Id")
        require(self.session, "initialize was answered without Mcp-Session-Id")
        return answer

    def tool(self, name: str, arguments: Any = None, headers: dict[str, str] | None = None) -> Any:
        """The tool's result."""
        answer = self.post("tools/call", {"name": name, "arguments": arguments or {}}, headers).expect(200, name)
        result = answer.json.get("result")
        require(result and not result["isError"], f"{name}: {answer.body[:300]!r}")
        return result

    def listen(self) -> Stream:
        """The stream of the stateless era: the answer to a POST."""
        names = {
            "protocolVersion": STATELESS,
            "clientCapabilities": {},
            "clientInfo": {"name": "proxy-test", "version": "1"},
        }
        meta = {f"io.modelcontextprotocol/{name}": value for name, value in names.items()}
        params = {"notifications": {"toolsListChanged": True}, "_meta": meta}
        headers = {
            "MCP-Protocol-Version": STATELESS,
            "Mcp-Method": "subscriptions/listen",
            "Content-Type": "application/json",
        }
        body = {"jsonrpc": "2.0", "id": "listen", "method": "subscriptions/listen", "params": params}
        return Stream(self.connection, "POST", "/mcp", {**self.headers, **headers}, body)

    def stream(self) -> Stream:
        return Stream(self.connection, "GET", "/mcp", self.in_session({"Accept": "text/event-stream"}))

    def close(self) -> None:
        self.connection.close()


@dataclass
class Report:
    failed: int = 0
    passed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def line(self, ok: bool, proxy: str, what: str, detail: str) -> None:
        with self.lock:
            self.passed += ok
            self.failed += not ok
            print(f"{'ok' if ok else 'FAILED':<7}{proxy:<9}{what}{': ' if detail else ''}{detail}", flush=True)


@dataclass
class Front:
    """A proxy in front of a server."""

    name: str
    called: str
    """What the server calls it."""
    port: int
    server: Server
    stub: AuthStub
    report: Report
    passes_underscores: bool
    """Whether it hands X_User_Id on."""
    public: str = HOST
    """The name that clients know it by."""

    @property
    def host(self) -> str:
        return f"{self.public}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def user(self, name: str | None = None) -> User:
        return User(("127.0.0.1", self.port), self.host, name and self.token(name))

    def token(self, name: str) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": name,
            "client_secret": name,
            "resource": f"{self.url}/mcp",
        }
        with urllib.request.urlopen(f"{self.stub.url}/token", urllib.parse.urlencode(form).encode()) as answer:
            token: str = json.load(answer)["access_token"]
            return token

    def discovers(self) -> bool:
        """Whether it serves already: Traefik takes a second or two for a first look at its containers."""
        return self.user().request("GET", "/.well-known/oauth-protected-resource").status == 200

    def asked(self) -> int:
        """How often the auth stub was asked about requests to this host so far."""
        with urllib.request.urlopen(f"{self.stub.url}/seen") as answer:
            return sum(question["Host"] == self.host for question in json.load(answer))

    @contextmanager
    def check(self, what: str) -> Iterator[list[str]]:
        """What the body adds to the list is shown as the check's detail."""
        details: list[str] = []
        try:
            yield details
        except Mismatch as mismatch:
            self.report.line(False, self.name, what, str(mismatch))
        except Exception as error:
            # A connection that breaks is a failed check, not the end of the others.
            self.report.line(False, self.name, what, f"{error!r} at {traceback.extract_tb(error.__traceback__)[-1]}")
        else:
            self.report.line(True, self.name, what, ", ".join(details))


def findings(result: Any) -> dict[str, Any]:
    return {finding["id"]: finding for finding in result["structuredContent"].get("findings", [])}


def probe(server: Server) -> Any:
    """healthProbe's figures, asked without the proxy."""
    direct = User(("127.0.0.1", server.port), f"127.0.0.1:{server.port}", None)
    facts = direct.tool("healthProbe", None, {"MCP-Protocol-Version": REVISION})["structuredContent"]
    direct.close()
    return facts
