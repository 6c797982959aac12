"""A small HTTP client that hides nothing: every header as it came, and the moment at which each event arrived."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

PATIENCE = 15.0
"""Seconds. An answer takes milliseconds; the rest is for a busy machine."""

SILENCE = 90.0
"""Seconds that a stream may say nothing: longer than the silence that is tried, which is not for this client to end."""


class Mismatch(Exception):
    """What came is not what has to come."""


def require(true: object, what: str) -> None:
    if not true:
        raise Mismatch(what)


def equal(got: object, wanted: object, what: str) -> None:
    require(got == wanted, f"{what}: {got!r} instead of {wanted!r}")


def until(what: str, found: Any, patience: float = PATIENCE) -> Any:
    """What `found` returns as soon as that is true."""
    end = time.monotonic() + patience
    while True:
        if result := found():
            return result
        if time.monotonic() > end:
            raise Mismatch(f"{what}: not within {patience:g} s")
        time.sleep(0.02)


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def all(self, name: str) -> list[str]:
        return self.headers.get_all(name) or []

    def one(self, name: str) -> str | None:
        """The value of a header that may come once at most: twice is what browsers choke on."""
        values = self.all(name)
        require(len(values) <= 1, f"{name} came {len(values)} times: {values}")
        return values[0] if values else None

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise Mismatch(f"{self.status} with a body that is not JSON: {self.body[:200]!r}") from None

    def expect(self, status: int, what: str) -> Answer:
        require(self.status == status, f"{what}: {self.status} instead of {status}: {self.body[:300]!r}")
        return self


@dataclass
class Event:
    wall: float
    """Seconds since 1970, by the clock that the server reads, too."""
    fields: dict[str, str]

    @property
    def data(self) -> Any:
        return json.loads(self.fields["data"]) if self.fields.get("data") else None


class Connection:
    """Kept open from request to request; opened anew when the other end closed it."""

    def __init__(self, address: tuple[str, int], host: str) -> None:
        self.address = address
        self.host = host
        self.connection = self.opened(PATIENCE)

    def opened(self, timeout: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=timeout)

    def send(
        self, connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str], body: Any
    ) -> Any:
        content = None if body is None else json.dumps(body).encode()
        given = {"Host": self.host, "User-Agent": "proxy-test", **headers}
        if content is not None:
            given.setdefault("Content-Type", "application/json")
        connection.request(method, path, content, given)
        return connection.getresponse()

    def request(self, method: str, path: str, headers: dict[str, str], body: Any = None) -> Answer:
        for last_try in (False, True):
            try:
                response = self.send(self.connection, method, path, headers, body)
                return Answer(response.status, response.headers, response.read())
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # The other end may close an idle connection at any time; a new one it may not.
                self.connection.close()
                if last_try:
                    raise
        raise AssertionError("not reached")

    def close(self) -> None:
        self.connection.close()


class Stream:
    """A response of server-sent events, read by a thread."""

    def __init__(
        self, connection: Connection, method: str, path: str, headers: dict[str, str], body: Any = None
    ) -> None:
        self.connection = connection.opened(SILENCE)
        response = connection.send(self.connection, method, path, headers, body)
        self.status, self.headers = response.status, response.headers
        if response.status != 200 or not response.headers.get("Content-Type", "").startswith("text/event-stream"):
            raise Mismatch(f"no stream: {response.status} {response.read()[:300]!r}")
        self.events: list[Event] = []
        self.arrivals: list[float] = [time.monotonic()]
        self.end: str | None = None
        self.changed = threading.Condition()
        # The socket is the response's alone when the server says `Connection: close`.
        self.socket = self.connection.sock or response.fp.raw._sock
        threading.Thread(target=self.read, args=(response,), daemon=True).start()

    def read(self, response: http.client.HTTPResponse) -> None:
        pending = b""
        end = "closed"
        try:
            while piece := response.read1(65536):
                wall, now = time.time(), time.monotonic()
                pending += piece
                *blocks, pending = pending.split(b"\n\n")
                fields = [dict(line.partition(": ")[::2] for line in block.decode().split("\n")) for block in blocks]
                with self.changed:
                    self.arrivals.append(now)
                    self.events += [Event(wall, each) for each in fields if "data" in each or "event" in each]
                    self.changed.notify_all()
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            # http.client closes the response under a reader when its connection is closed.
            end = f"broken: {error!r}"
        with self.changed:
            self.end = end
            self.changed.notify_all()

    def wait(self, what: str, found: Any, patience: float = PATIENCE) -> Any:
        with self.changed:
            if not self.changed.wait_for(lambda: found() or self.end, patience):
                raise Mismatch(f"{what}: nothing came within {patience:g} s")
            result = found()
        require(result, f"{what}: the stream ended before ({self.end})")
        return result

    def message(self, what: str, fits: Any) -> Event:
        """The first JSON-RPC message that fits."""

        def found() -> Any:
            messages = [event for event in self.events if event.fields.get("event") == "message"]
            return next((event for event in messages if fits(event.data)), None)

        event: Event = self.wait(what, found)
        return event

    def wait_for_end(self, what: str) -> str:
        with self.changed:
            require(
                self.changed.wait_for(lambda: self.end, PATIENCE),
                f"{what}: the stream did not end within {PATIENCE:g} s",
            )
        return str(self.end)

    def longest_silence(self) -> float:
        times = [*self.arrivals, time.monotonic()]
        return max(later - earlier for earlier, later in zip(times, times[1:]))

    def abandon(self) -> None:
        """As a client that crashes: the connection is cut, nothing is said."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.connection.close()
