"""What every Python client is put through: the same steps, whatever the SDK's release and the protocol's era.

One line a check, `ok WHAT DETAIL`; the first mismatch ends the program with `FAILED ...` on stderr and exit code 1. Nothing waits
longer than `PATIENCE`. What the SDK logs as a warning, or hands over as an exception, is a mismatch too, unless `EXPECTED` names it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import anyio

LEGACY = "2025-11-25"
MODERN = "2026-07-28"
SERVER = "mcp-echo-streamablehttp-server-stateful"
TOOLS = [
    "echo",
    "replayLastEcho",
    "printHeader",
    "bearerDecode",
    "authContext",
    "requestTiming",
    "corsAnalysis",
    "environmentDump",
    "healthProbe",
    "sessionInfo",
    "whoIStheGOAT",
]

PATIENCE = 20.0
"""Seconds. A step takes three at most; the rest is for a busy machine."""

LONGEST = 90.0
"""Seconds for all of it, whatever hangs."""

CANCELLED_MS = 1000
WAITED_MS = 2200
"""Longer than what is cancelled: when this answer is there, the cancelled one would have been counted."""

EXPECTED = [re.compile(r"^Unknown SSE event: keep-alive$")]
"""The GET stream's keep-alive event, which the server sends unless MCP_SSE_KEEPALIVE_STYLE=comment. Harmless, and documented."""


class Mismatch(Exception):
    """What the server or the client did is not what it has to do."""


def require(true: object, what: str) -> None:
    if not true:
        raise Mismatch(what)


def equal(got: object, wanted: object, what: str) -> None:
    require(got == wanted, f"{what}: {got!r} instead of {wanted!r}")


@dataclass
class Exchange:
    """One HTTP exchange, as the client's own HTTP library saw it."""

    method: str
    request: dict[str, str]
    status: int
    response: dict[str, str]
    body: dict[str, Any] | None

    @property
    def rpc(self) -> str:
        """The JSON-RPC method, or the HTTP method where there is no body."""
        return str((self.body or {}).get("method", self.method))

    @classmethod
    def of(cls, request: Any, status: int, response_headers: Any) -> Exchange:
        # httpx and httpx2 alike; a body that is streamed would have no `content`, but these clients send none.
        body = json.loads(request.content) if request.content else None
        return cls(
            request.method,
            {name.lower(): value for name, value in request.headers.items()},
            status,
            {name.lower(): value for name, value in response_headers.items()},
            body,
        )


@dataclass
class Seen:
    """What reached the client besides its answers."""

    exchanges: list[Exchange] = field(default_factory=list)
    log_lines: list[Any] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    changed: anyio.Event = field(default_factory=anyio.Event)

    def notify(self) -> None:
        changed, self.changed = self.changed, anyio.Event()
        changed.set()

    async def until(self, what: str, found: Callable[[], Any]) -> Any:
        with anyio.move_on_after(PATIENCE):
            while not (result := found()):
                await self.changed.wait()
            return result
        raise Mismatch(f"{what}: nothing came within {PATIENCE:.0f} s")

    async def on_response(self, response: Any) -> None:
        """The hook for httpx and httpx2."""
        self.exchanges.append(Exchange.of(response.request, response.status_code, response.headers))
        self.notify()

    async def on_log(self, params: Any) -> None:
        self.log_lines.append(params)
        self.notify()

    async def on_message(self, message: Any) -> None:
        if isinstance(message, Exception):
            self.problems.append(f"{type(message).__name__}: {message}")

    def rpcs(self) -> list[str]:
        return [exchange.rpc for exchange in self.exchanges]


class ProblemLog(logging.Handler):
    def __init__(self, seen: Seen) -> None:
        super().__init__(logging.WARNING)
        self.seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.problems.append(record.getMessage())


@dataclass
class Answer:
    text: str
    facts: dict[str, Any]


Progress = Callable[[float, float | None, str | None], Awaitable[None]]


class Client(Protocol):
    """What a program makes of its SDK, so that the steps below can be the same for all."""

    seen: Seen
    version: str
    server: str

    async def tools(self) -> list[str]: ...
    async def call(self, tool: str, arguments: dict[str, Any], progress: Progress | None = None) -> Answer: ...
    async def cancel(self, tool: str, arguments: dict[str, Any]) -> None:
        """Calls the tool and cancels the call, the SDK's own way, at the first progress that comes."""
        ...


def ok(what: str, detail: object = "") -> None:
    print(f"ok {what} {detail}".rstrip(), flush=True)


async def call(client: Client, tool: str, arguments: dict[str, Any] | None = None, progress: Progress | None = None) -> Answer:
    with anyio.move_on_after(PATIENCE):
        return await client.call(tool, arguments or {}, progress)
    raise Mismatch(f"{tool}: no answer within {PATIENCE:.0f} s")


async def connected(client: Client, version: str) -> None:
    equal(client.version, version, "negotiated version")
    equal(client.server, SERVER, "name of the server")
    ok("connect", client.version)
    with anyio.fail_after(PATIENCE):
        equal(await client.tools(), TOOLS, "tools/list")
    ok("tools/list", f"{len(TOOLS)} tools in order")


async def progress_and_cancel(client: Client, handle: dict[str, str], echoes: int) -> None:
    """A delayed echo that is cancelled, then one that is not: the first must not be counted, the second must."""
    with anyio.move_on_after(PATIENCE) as scope:
        await client.cancel("echo", {"message": "cancelled", "delayMs": CANCELLED_MS, **handle})
    require(not scope.cancelled_caught, "cancel: the call was still there after the time-out")

    steps: list[tuple[float, float | None]] = []

    async def on_progress(progress: float, total: float | None, _message: str | None) -> None:
        steps.append((progress, total))

    answer = await call(client, "echo", {"message": "delayed", "delayMs": WAITED_MS, **handle}, on_progress)
    equal(answer.facts["message"], "delayed", "echo with delayMs")
    values = [progress for progress, _ in steps]
    require(len(values) >= 3, f"progress: about one a second, but {steps}")
    require(values == sorted(set(values)), f"progress has to grow: {steps}")
    require(all(total == WAITED_MS for _, total in steps), f"progress: total {WAITED_MS}, but {steps}")
    ok("progress", " ".join(f"{progress:g}/{WAITED_MS}" for progress in values))

    equal(answer.facts["echoCount"], echoes + 1, "cancel: the cancelled echo was counted; echo count")
    info = (await call(client, "sessionInfo", handle)).facts["session"]
    equal(info["echoCount"], echoes + 1, "cancel: echo count of sessionInfo")
    replay = await call(client, "replayLastEcho", handle)
    equal(replay.facts["message"], "delayed", "cancel: the cancelled echo is replayed")
    ok("cancel", f"echo count {info['echoCount']}, without the cancelled one")


def problems(client: Client) -> None:
    refused = [f"{e.rpc} {e.status}" for e in client.seen.exchanges if e.status not in (200, 202, 204)]
    equal(refused, [], "requests that were refused")
    expected, others = Counter[str](), []
    for problem in client.seen.problems:
        if any(pattern.search(problem) for pattern in EXPECTED):
            expected[problem] += 1
        else:
            others.append(problem)
    require(not others, "the client logged: " + " | ".join(others))
    for problem, count in expected.items():
        print(f"note {count} x {problem!r} (known, see docs/clients.md)")
    ok("log", "nothing unexpected")


class LegacyClient(Client, Protocol):
    session_id: str

    async def ping(self) -> None: ...
    async def set_level(self, level: str) -> None: ...


async def legacy(client: LegacyClient) -> None:
    """The handshake era: a session, its GET stream, and its end."""
    seen = client.seen
    await connected(client, LEGACY)
    require("server/discover" not in seen.rpcs(), "legacy mode asked server/discover")

    opened = await seen.until("GET stream", lambda: next((e for e in seen.exchanges if e.method == "GET"), None))
    equal(opened.status, 200, "GET stream: status")

    answer = await call(client, "echo", {"message": "Hallo, Welt 🌍"})
    equal(answer.text, f"Hallo, Welt 🌍\n\nSession: {client.session_id}\nEcho count in session: 1", "echo: text")
    equal(answer.facts["echoCount"], 1, "echo: count")
    ok("echo", f"session {client.session_id[:8]}")

    await live(seen, "tools.echo")
    ok("GET stream", "notifications/message of tools.echo, live")

    replay = await call(client, "replayLastEcho")
    equal(replay.facts["message"], "Hallo, Welt 🌍", "replayLastEcho: message")
    ok("replayLastEcho", replay.facts["message"])

    info = (await call(client, "sessionInfo")).facts["session"]
    equal(info["sessionId"], client.session_id, "sessionInfo: id")
    equal(info["protocolVersion"], LEGACY, "sessionInfo: version")
    require(info["clientReady"] and info["openStreams"] == 1, f"sessionInfo: client ready, one stream open, but {info}")
    ok("sessionInfo", f"echoes {info['echoCount']}, replays {info['replayCount']}, streams {info['openStreams']}")

    with anyio.fail_after(PATIENCE):
        await client.ping()
    ok("ping")

    await progress_and_cancel(client, {}, echoes=1)

    # What is below the level is dropped, not kept for later: healthProbe's line may not follow when the level falls again.
    with anyio.fail_after(PATIENCE):
        await client.set_level("error")
        await call(client, "healthProbe")
        await client.set_level("info")
        await call(client, "requestTiming")
    await live(seen, "tools.requestTiming")
    require("tools.healthProbe" not in [line.logger for line in seen.log_lines], "set level: an info line came at level error")
    ok("set level", "error silences, info brings back")

    streams = [e for e in seen.exchanges if e.method == "GET"]
    equal(len(streams), 1, "GET streams opened in all, none of them again")


async def legacy_closed(client: LegacyClient, url: str) -> None:
    """After the client was closed, its own way."""
    seen = client.seen
    ended = [e.status for e in seen.exchanges if e.method == "DELETE"]
    equal(ended, [204], "close: statuses of DELETE")
    ok("close", "DELETE 204")

    status, body = await anyio.to_thread.run_sync(dead_session, url, client.session_id)
    equal(status, 404, "the ended session's id: status")
    equal(body["error"]["data"]["reason"], "deleted", "the ended session's id: reason")
    ok("ended id", f"404 {body['error']['message']} (deleted)")
    problems(client)


async def live(seen: Seen, logger: str) -> None:
    await seen.until(f"GET stream: a line of {logger}", lambda: any(line.logger == logger for line in seen.log_lines))


def dead_session(url: str, session_id: str) -> tuple[int, dict[str, Any]]:
    """No SDK sends anything in a session that it has ended."""
    request = urllib.request.Request(
        url,
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode(),
        {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Mcp-Session-Id": session_id,
            "MCP-Protocol-Version": LEGACY,
        },
    )
    # Not through a proxy of the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENCE) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


class ModernClient(Client, Protocol):
    async def call_logged(self, tool: str, arguments: dict[str, Any], level: str) -> Answer: ...
    async def listen(self) -> str:
        """Opens subscriptions/listen and closes it; what was acknowledged."""
        ...


async def modern(client: ModernClient) -> None:
    """The stateless era: a handle instead of a session."""
    seen = client.seen
    equal(seen.rpcs()[:1], ["server/discover"], "first request")
    await connected(client, MODERN)

    answer = await call(client, "echo", {"message": "Hallo, Welt 🌍"})
    handle = {"sessionId": answer.facts["sessionId"]}
    equal(answer.text, f"Hallo, Welt 🌍\n\nSession: {handle['sessionId']}\nEcho count in session: 1", "echo: text")
    ok("echo", f"handle {handle['sessionId'][:8]}")

    replay = await call(client, "replayLastEcho", handle)
    equal(replay.facts["message"], "Hallo, Welt 🌍", "replayLastEcho by handle: message")
    equal(replay.facts["sessionId"], handle["sessionId"], "replayLastEcho by handle: handle")
    ok("replayLastEcho", f"by handle {handle['sessionId'][:8]}: {replay.facts['message']}")

    info = (await call(client, "sessionInfo", handle)).facts["session"]
    equal(info["sessionId"], handle["sessionId"], "sessionInfo by handle: id")
    equal((info["echoCount"], info["replayCount"]), (1, 1), "sessionInfo by handle: echoes and replays")
    ok("sessionInfo", f"by handle {handle['sessionId'][:8]}: echoes {info['echoCount']}, replays {info['replayCount']}")

    mirrored = [e.request.get("mcp-param-session") for e in seen.exchanges if e.rpc == "tools/call"]
    equal(mirrored, [None, None, None], "Mcp-Param-Session of the three calls: nobody asks for it")

    with anyio.fail_after(PATIENCE):
        await client.call_logged("healthProbe", {}, "info")
    equal([line.logger for line in seen.log_lines], ["tools.healthProbe"], "log lines: only of the call that asked for them")
    ok("log lines", "of the call that asked, on its own stream")

    with anyio.fail_after(PATIENCE):
        ok("subscriptions/listen", f"acknowledged, {await client.listen()}")

    await progress_and_cancel(client, handle, echoes=1)


def modern_closed(client: ModernClient) -> None:
    """After the client was closed, its own way."""
    seen = client.seen
    legacy_requests = {"initialize", "notifications/initialized", "notifications/cancelled", "ping", "GET", "DELETE"}
    require(not legacy_requests & set(seen.rpcs()), f"a request of the handshake era: {seen.rpcs()}")
    require(not [e for e in seen.exchanges if "mcp-session-id" in e.response], "an Mcp-Session-Id was answered")
    ok("close", "no request of the handshake era, no session")
    problems(client)


def main(run: Callable[[str, str], Awaitable[None]]) -> NoReturn:
    """PROGRAM URL MODE: runs the steps and says how it went."""
    if len(sys.argv) != 3 or sys.argv[2] not in ("legacy", "auto"):
        print(f"usage: {sys.argv[0]} URL legacy|auto", file=sys.stderr)
        sys.exit(2)

    async def bounded() -> None:
        with anyio.fail_after(LONGEST):
            await run(sys.argv[1], sys.argv[2])

    try:
        anyio.run(bounded)
    except BaseException as error:  # whatever it is, it is the result
        if isinstance(error, KeyboardInterrupt):
            raise
        for cause in causes(error):
            print(f"FAILED {cause}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


def causes(error: BaseException) -> list[str]:
    """The SDKs run in task groups, which wrap what went wrong, sometimes more than once."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for inner in error.exceptions for cause in causes(inner)]
    if isinstance(error, Mismatch):
        return [str(error)]
    if isinstance(error, TimeoutError):
        return [f"nothing came in time {where(error)}"]
    return [f"{type(error).__name__}: {error} {where(error)}"]


def where(error: BaseException) -> str:
    """The last line of the scenario or its program that was reached."""
    trace, lines = error.__traceback__, []
    while trace:
        if "site-packages" not in trace.tb_frame.f_code.co_filename:
            lines.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    own = [line for line in lines if line.startswith(("scenario.py", "mcp_"))]
    return f"(at {own[-1]})" if own else ""
