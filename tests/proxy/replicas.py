"""Two servers behind one Traefik: who gets a session's requests, and what a client hears that reaches the wrong one."""

from __future__ import annotations

from front import Front, probe
from http_client import equal, require, until
from latency import Turns
from programs import Server

DROP_ALIASES = ("--entrypoints.web.http.aliasheadersstrategy=delete",)
"""What docs/proxies.md recommends against X_User_Id."""


def behind(plain: Front, sticky: Front, hashed: Front, servers: list[Server], turns: Turns) -> None:
    """Two servers behind one proxy, which tells them apart in three ways."""
    for front in (plain, sticky, hashed):
        with front.check("the proxy is set up"):
            until("discovery", front.discovers)
    with plain.check("round robin: both replicas answer") as detail:
        alice = plain.user("alice")
        found = {alice.post("ping").expect(200, "ping").one("X-Instance-Id") for _ in range(4)}
        equal(found, {probe(server)["instance"] for server in servers}, "instances")
        detail.append(" and ".join(sorted(map(str, found))))
    with plain.check("round robin: the 404 says that another replica made the session") as detail:
        alice = plain.user("alice")
        maker = alice.initialize_only().one("X-Instance-Id")
        answers = [alice.post("ping") for _ in range(6)]
        equal({answer.status for answer in answers}, {200, 404}, "statuses")
        for answer in answers:
            here = answer.one("X-Instance-Id")
            equal(answer.status, 200 if here == maker else 404, f"status of {here} for a session of {maker}")
        told = next(answer for answer in answers if answer.status == 404)
        data, here = told.json["error"]["data"], told.one("X-Instance-Id")
        equal((data["madeByInstance"], data["instance"]), (maker, here), "the instances that the 404 names")
        require(data["hint"].startswith("another instance of this server"), f"the hint: {data['hint']}")
        equal([finding["id"] for finding in data["findings"]], ["ses.other_replica"], "findings")
        detail.append(f"ses.other_replica: {'; '.join(data['findings'][0]['evidence'])}")
    with sticky.check("a cookie keeps a client at its replica") as detail:
        alice = sticky.user("alice")
        answer = alice.initialize_only()
        cookie = answer.one("Set-Cookie") or ""
        require(cookie.startswith("mcp-echo-stateful=") and "HttpOnly" in cookie, f"Set-Cookie: {cookie}")
        alice.headers["Cookie"] = cookie.split(";")[0]
        same = [alice.post("ping").expect(200, "with the cookie").one("X-Instance-Id") for _ in range(10)]
        equal(set(same), {answer.one("X-Instance-Id")}, "instances")
        stream = alice.stream()
        alice.tool("echo", {"message": "sticky"})
        stream.message("the event", lambda data: data["params"].get("logger") == "tools.echo")
        alice.request("DELETE", "/mcp").expect(204, "DELETE")
        detail.append(f"10 of 10 answers by {same[0]}; stream and DELETE, too")
    with sticky.check("a client that keeps no cookie is told the same 404") as detail:
        alice = sticky.user("alice")
        alice.initialize_only()
        statuses = [alice.post("ping").status for _ in range(4)]
        equal(set(statuses), {200, 404}, "statuses")
    with hashed.check("strategy hrw, by the client's address, needs no cookie") as detail:
        alice = hashed.user("alice")
        maker = alice.initialize().one("X-Instance-Id")
        same = [alice.post("ping").expect(200, "ping").one("X-Instance-Id") for _ in range(10)]
        equal(set(same), {maker}, "instances")
        detail.append(f"10 of 10 answers by {maker}")
    with hashed.check("aliasHeadersStrategy=delete drops an underscore alias") as detail:
        text = alice.tool("printHeader", None, {"X_User_Id": "6666"})["content"][0]["text"]
        require("6666" not in text, f"printHeader: {text}")
    with plain.check("the servers end well, and have logged no error"), turns.turn():
        for server in servers:
            server.stop()
