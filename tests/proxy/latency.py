"""How long an event takes from the server to the client."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from front import User
from http_client import require, until
from programs import Server

EVENTS = 100
"""How many are timed."""

AT_ONCE = 0.25
"""Seconds from the server's log line to the event's arrival, at most, of the median, on a busy machine. Held back by a
buffer, events would not come at all."""

LONGEST = 60.0
"""Seconds until everybody else has done everything."""


class Turns:
    """For what is timed: one after the other, and when everything else has been done, but for waiting."""

    def __init__(self, parties: int) -> None:
        self.done = threading.Barrier(parties)
        self.lock = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        self.done.wait(LONGEST)
        with self.lock:
            yield


def latency(user: User, server: Server) -> str:
    """Calls EVENTS tools, each after the event of the one before has come; compares arrivals with the server's log."""
    stream = user.stream()
    stream.wait("the first bytes", lambda: len(stream.arrivals) > 1 or stream.events)
    run = f"run-{user.session}"
    arrived: dict[str, float] = {}
    for n in range(EVENTS):
        request_id = f"{run[:12]}-{n}"
        user.tool("echo", {"message": str(n)}, {"X-Request-Id": request_id})
        call = user.calls
        event = stream.message(f"event {n}", lambda data: data["params"]["data"].get("requestId") == call)
        arrived[request_id] = event.wall
    logged = until("the server's log lines", lambda: answered(server, arrived.keys()))
    delays = sorted((arrived[name] - logged[name]) * 1000 for name in arrived)
    stream.abandon()
    median = statistics.median(delays)
    require(median < AT_ONCE * 1000, f"median {median:.1f} ms")
    return (
        f"{EVENTS} events, after the server's own time of the answer: median {median:.2f} ms, max {delays[-1]:.2f} ms"
    )


def answered(server: Server, names: Any) -> dict[str, float] | None:
    """When the server answered the requests of these ids, by its log; nothing until it has answered all."""
    found = {}
    for line in server.log():
        name = line.get("span", {}).get("request_id")
        if name in names and line["message"] == "answered":
            found[name] = datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")).timestamp()
    return found if len(found) == len(names) else None
