"""What has to hold through each proxy in front of one server."""

from __future__ import annotations

import time

from front import STATELESS, Front, User, findings, probe
from http_client import Stream, equal, require, until
from latency import Turns, latency
from programs import Server

PAGE = "http://localhost:6274"
"""The web page of a client (MCP Inspector's)."""

SILENT = 70.0
"""Seconds: longer than the 60 s after which nginx's default, and many load balancers, give up."""

KEEP_ALIVE = 15.0
"""Seconds, the server's default."""

REQUEST_HEADERS = "authorization,content-type,mcp-protocol-version,mcp-session-id"
"""What a browser's preflight asks for."""

KNOWN_FINDINGS = {
    "tok.symmetric",
    "tok.no_kid",
    "tok.aud_origin_only",
    "id.token_passthrough",
    "http.version_header_missing",
    "hdr.xfp_http_public",
}
"""What the stub's way of doing things brings along: HS256, the bearer token as X-Auth-Token, and http for a public name."""


def behind(front: Front, turns: Turns) -> None:
    """Everything, through one proxy."""
    alice, waiter = front.user("alice"), front.user("alice")
    silent: tuple[Stream, Stream, float] | None = None
    with front.check("a stream opens"):
        until("the proxy is set up", front.discovers)
        waiter.initialize()
        silent = (waiter.stream(), waiter.listen(), time.monotonic())
    without_auth(front)
    sessions(front, alice)
    who_is_it(front, alice)
    in_a_browser(front, alice)
    streaming(front, alice)
    with front.check("GET stream: each event arrives as it is made") as detail, turns.turn():
        detail.append(latency(alice, front.server))
    if silent:
        silence(front, waiter, *silent)
    restart(front, alice)
    with front.check("the server ends well, and has logged no error"):
        front.server.stop()


def without_auth(front: Front) -> None:
    with front.check("no token: 401 with the challenge") as detail:
        nobody = front.user()
        answer = nobody.post("initialize", {}).expect(401, "initialize without a token")
        challenge = answer.one("WWW-Authenticate") or ""
        metadata = f"{front.url}/.well-known/oauth-protected-resource/mcp"
        equal(challenge, f'Bearer resource_metadata="{metadata}"', "the challenge")
        detail.append(challenge)
        nobody.headers["Authorization"] = "Bearer e30.e30.AA"
        challenge = nobody.post("ping").expect(401, "a wrong token").one("WWW-Authenticate") or ""
        require('error="invalid_token"' in challenge, f"a wrong token: {challenge}")
    with front.check("no token: discovery is reachable") as detail:
        before = front.asked()
        for path in ("oauth-protected-resource/mcp", "oauth-protected-resource", "oauth-authorization-server"):
            answer = front.user().request("GET", f"/.well-known/{path}", {"Origin": PAGE}).expect(200, path)
            equal(answer.one("Access-Control-Allow-Origin"), PAGE, f"Access-Control-Allow-Origin of {path}")
            detail.append(path)
            if path.endswith("/mcp"):
                equal(answer.json["resource"], f"{front.url}/mcp", "resource of the metadata")
        equal(front.asked(), before, "questions to the auth service")


def sessions(front: Front, alice: User) -> None:
    with front.check("initialize, echo, replayLastEcho, sessionInfo") as detail:
        alice.initialize()
        alice.tool("echo", {"message": "through the proxy"})
        equal(alice.tool("replayLastEcho")["structuredContent"]["message"], "through the proxy", "the replayed message")
        text = alice.tool("sessionInfo")["content"][0]["text"]
        require("Bound To: 1001" in text, f"sessionInfo: {text}")
        detail.append(f"session {str(alice.session)[:8]} bound to 1001")
    with front.check("another user's session id: 404, for POST, GET and DELETE"):
        bob = front.user("bob")
        bob.session = alice.session
        for method in ("POST", "GET", "DELETE"):
            body = {"jsonrpc": "2.0", "id": 1, "method": "ping"} if method == "POST" else None
            answer = bob.request(method, "/mcp", {"Accept": "text/event-stream"} if method == "GET" else None, body)
            answer.expect(404, f"{method} by bob")
            require("reason" not in answer.json["error"].get("data", {}), "bob is told why")
        alice.post("ping").expect(200, "alice's session afterwards")
    with front.check("a large message (900 KiB) and its answer"):
        message = "x" * 900 * 1024
        equal(alice.tool("echo", {"message": message})["structuredContent"]["message"], message, "the answer")


def who_is_it(front: Front, alice: User) -> None:
    with front.check("authContext names the proxy and the user") as detail:
        result = alice.tool("authContext")
        text, facts = result["content"][0]["text"], result["structuredContent"]
        require("- User ID: 1001" in text and "- Username: alice" in text, f"authContext: {text}")
        names = [proxy["name"] for proxy in facts["proxies"]]
        require(front.called in names, f"proxies: {names}")
        require(f"- {front.url}/mcp (from" in text, f"public URL: {text}")
        wrong = {name: found["summary"] for name, found in findings(result).items() if name not in KNOWN_FINDINGS}
        require(not wrong, f"findings on a healthy request: {wrong}")
        detail.append(f"{', '.join(names)}; 1001 alice; {front.url}/mcp")
    with front.check("printHeader shows what the proxy made of the request"):
        text = alice.tool("printHeader")["content"][0]["text"]
        forwarded = (f"X-Forwarded-Host: {front.host}", "X-Forwarded-Proto: http")
        for line in ("X-User-Id: 1001", "X-User-Name: alice", *forwarded):
            require(f"  {line}\n" in text, f"printHeader has no {line!r}: {text}")
    with front.check("corsAnalysis says that CORS is the proxy's job"):
        facts = alice.tool("corsAnalysis", {"origin": PAGE})["structuredContent"]
        equal(facts["policy"]["setBy"], "proxy", "policy.setBy")
    with front.check("a client's own identity and forwarding headers are overwritten, or taken away"):
        forged = {"X-User-Id": "6666", "X-User-Name": "mallory", "X-Auth-Token": "forged", "X-Forwarded-Port": "6666"}
        forged |= {"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/mallory"}
        forged["Forwarded"] = "for=192.0.2.1;proto=https;host=evil.example"
        text = alice.tool("printHeader", None, forged)["content"][0]["text"]
        require("X-User-Id: 1001" in text and "X-User-Name: alice" in text, f"printHeader: {text}")
        for word in ("6666", "mallory", "forged", "evil.example"):
            require(word not in text, f"{word!r} came through: {text}")
        text = alice.tool("authContext", None, forged)["content"][0]["text"]
        require(f"- {front.url}/mcp (from" in text, f"public URL: {text}")
    with front.check("an underscore alias of X-User-Id") as detail:
        alias = {"X_User_Id": "6666"}
        who = alice.tool("authContext", None, alias)["content"][0]["text"]
        require("- User ID: 1001" in who, "authContext believes it")
        shown = alice.tool("printHeader", None, alias)
        came, found = "X_User_Id: 6666" in shown["content"][0]["text"], "hdr.underscore_alias" in findings(shown)
        equal((came, found), (front.passes_underscores,) * 2, "whether it came through, and is flagged")
        require(("(hdr.underscore_alias)" in who) == came, f"authContext: {who}")
        detail.append("passed on, and flagged: hdr.underscore_alias" if came else "dropped by the proxy")


def in_a_browser(front: Front, alice: User) -> None:
    with front.check("a preflight passes without a token, and asks nobody") as detail:
        before, reached = front.asked(), len(front.server.log())
        asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
        asks["Access-Control-Request-Headers"] = REQUEST_HEADERS
        answer = front.user().request("OPTIONS", "/mcp", asks)
        require(answer.status in (200, 204), f"{answer.status} instead of 200 or 204")
        equal(answer.one("Access-Control-Allow-Origin"), PAGE, "Access-Control-Allow-Origin")
        allowed = {name.strip().lower() for name in (answer.one("Access-Control-Allow-Headers") or "").split(",")}
        require(set(REQUEST_HEADERS.split(",")) <= allowed, f"Access-Control-Allow-Headers: {allowed}")
        methods = {name.strip() for name in (answer.one("Access-Control-Allow-Methods") or "").split(",")}
        require({"POST", "GET", "DELETE"} <= methods, f"Access-Control-Allow-Methods: {methods}")
        equal(front.asked(), before, "questions to the auth service")
        lines = [line for line in front.server.log()[reached:] if line.get("span", {}).get("http_method") == "OPTIONS"]
        require(not [line for line in lines if line["span"].get("tool")], f"it reached a tool: {lines}")
        detail.append(f"{answer.status}, {'answered by the proxy' if not lines else 'answered by the server'}")
    with front.check("the preflight of a foreign page gets no permission"):
        asks = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = front.user().request("OPTIONS", "/mcp", asks)
        equal(answer.one("Access-Control-Allow-Origin"), None, "Access-Control-Allow-Origin")
        foreign = alice.post("ping", None, {"Origin": "https://evil.example"}).expect(403, "a foreign page's POST")
        equal(foreign.one("Access-Control-Allow-Origin"), None, "Access-Control-Allow-Origin of the POST")
    with front.check("CORS headers come once, on answers and on the 401"):
        for user, status in ((alice, 200), (front.user(), 401)):
            answer = user.post("ping", None, {"Origin": PAGE}).expect(status, "ping of a page")
            equal(answer.one("Access-Control-Allow-Origin"), PAGE, f"Access-Control-Allow-Origin of the {status}")
            exposed = {name.strip().lower() for name in (answer.one("Access-Control-Expose-Headers") or "").split(",")}
            require({"mcp-session-id", "www-authenticate"} <= exposed, f"exposed by the {status}: {exposed}")
            require("origin" in ", ".join(answer.all("Vary")).lower(), f"Vary of the {status}: {answer.all('Vary')}")


def streaming(front: Front, alice: User) -> None:
    with front.check("POST stream: progress arrives before the answer") as detail:
        params = {"name": "echo", "arguments": {"message": "slow", "delayMs": 2200}, "_meta": {"progressToken": "p"}}
        body = {"jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": params}
        began = time.monotonic()
        stream = Stream(alice.connection, "POST", "/mcp", alice.in_session({"Content-Type": "application/json"}), body)
        first = stream.message("progress", lambda data: data.get("method") == "notifications/progress")
        first_after = time.monotonic() - began
        answer = stream.message("the answer", lambda data: data.get("id") == "slow")
        between = answer.wall - first.wall
        require(between > 0.5, f"progress came with the answer: {between:.3f} s before it")
        equal(stream.wait_for_end("the stream of the call"), "closed", "its end")
        detail.append(f"first after {first_after * 1000:.0f} ms, answer {between:.1f} s later")
    with front.check("a client that goes away: its stream is gone in the server") as detail:
        stream = alice.stream()
        before = open_streams(front.server)
        began = time.monotonic()
        stream.abandon()
        until("one stream less", lambda: open_streams(front.server) == before - 1)
        detail.append(f"{before} to {before - 1} in {(time.monotonic() - began) * 1000:.0f} ms")
    with front.check("a client that goes away before its answer: nothing hangs in the server") as detail:
        other = front.user("alice")
        other.initialize()
        late = {"message": "nobody waits", "delayMs": 60000}
        params = {"name": "echo", "arguments": late, "_meta": {"progressToken": "q"}}
        body = {"jsonrpc": "2.0", "id": "left", "method": "tools/call", "params": params}
        stream = Stream(other.connection, "POST", "/mcp", other.in_session({"Content-Type": "application/json"}), body)
        stream.abandon()
        other.request("DELETE", "/mcp").expect(204, "DELETE")
        until("no request in flight", lambda: in_flight(front.server) == 0)
        detail.append("after DELETE no request is in flight")


def open_streams(server: Server) -> int:
    count: int = probe(server)["sessions"]["openStreams"]
    return count


def in_flight(server: Server) -> int:
    """Besides the question itself, which is outside of any session."""
    count: int = probe(server)["sessions"]["requestsInFlight"]
    return count


def silence(front: Front, waiter: User, stream: Stream, listening: Stream, began: float) -> None:
    with front.check(f"{SILENT:.0f} s of silence are survived by keep-alives") as detail:
        patience = SILENT - (time.monotonic() - began) + 3 * KEEP_ALIVE
        stream.wait("the silence", lambda: time.monotonic() - began >= SILENT, patience)
        signs = [event for event in stream.events if event.fields.get("event") == "keep-alive"]
        require(len(signs) >= SILENT // KEEP_ALIVE, f"{len(signs)} keep-alives only")
        longest = stream.longest_silence()
        require(longest < KEEP_ALIVE + 5, f"{longest:.1f} s without a byte")
        waiter.tool("echo", {"message": "still there"})
        stream.message("an event afterwards", lambda data: data["params"].get("logger") == "tools.echo")
        detail.append(f"{len(signs)} keep-alives, {longest:.1f} s the longest without a byte, then an event")
    with front.check(f"so are they by subscriptions/listen, the answer to a POST of {STATELESS}") as detail:
        require(listening.end is None, f"the stream ended: {listening.end}")
        longest = listening.longest_silence()
        require(longest < KEEP_ALIVE + 5, f"{longest:.1f} s without a byte")
        detail.append(f"open for {time.monotonic() - began:.0f} s, {longest:.1f} s the longest without a byte")
        listening.abandon()
    with front.check("DELETE ends session and stream; then 404"):
        waiter.request("DELETE", "/mcp").expect(204, "DELETE")
        equal(stream.wait_for_end("the stream after DELETE"), "closed", "its end")
        answer = waiter.post("ping").expect(404, "afterwards")
        equal(answer.json["error"]["data"]["reason"], "deleted", "data.reason")


def restart(front: Front, alice: User) -> None:
    with front.check("a server that restarts: 502 while it is down, 404 afterwards, then a new session") as detail:
        stream = alice.stream()
        old = alice.session
        front.server.stop()
        equal(stream.wait_for_end("the stream"), "closed", "its end")
        down = alice.post("ping")
        equal(down.status, 502, "while it is down")
        front.server.start(front.server.port)
        began = time.monotonic()
        answer = until("the server is found again", lambda: (found := alice.post("ping")).status != 502 and found)
        answer.expect(404, "the old session")
        require("initialize" in answer.json["error"]["data"]["hint"], f"the hint: {answer.body!r}")
        alice.initialize()
        require(alice.session != old, "the new session has the old id")
        alice.tool("echo", {"message": "again"})
        detail.append(f"found again after {(time.monotonic() - began) * 1000:.0f} ms")
