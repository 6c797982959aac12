"""Short times: start, delivery to a stream, and how long others wait while many sessions expire."""

import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass

from crowd import Crowd
from servers import Server

STARTS = 20
DELIVERIES = 3_000
# Sessions in all, and how many of them expire at once.
SESSIONS, EXPIRING = 1_000_000, 100_000
# Echoes a second meanwhile, and for how many seconds.
RATE, WATCHED_S = 2_000, 6
# With the time-out of an hour: those that expire are this much older than the others, are warned after the second jump
# (6 minutes ahead), and have expired after the third. No other time passes for sessions.
OLDER_S, TO_WARNING_S, TO_EXPIRY_S = 1000, 2400, 300


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass
class Times:
    """Of many, in µs."""

    p50: int
    p99: int
    p999: int
    longest: int


def times(values):
    return Times(*(percentile(values, percent) for percent in (50, 99, 99.9)), max(values))


def starts(binaries, say):
    """ms from starting the process to its first answer, medians: the floor's and the server's."""
    say(f"start: {STARTS} times each")
    seen = [], []
    for _ in range(STARTS):
        with Server([binaries.floor, "{port}"], "/json") as floor:
            seen[0].append(floor.start_ms)
        with Server([binaries.server], "/mcp") as server:
            seen[1].append(server.start_ms)
    return tuple(map(statistics.median, seen))


def deliveries(binaries, say):
    """From sending a call to its notification on the session's stream, and to its answer."""
    say("delivery to a stream")
    with tempfile.TemporaryDirectory() as folder, Server([binaries.server], "/mcp") as server:
        crowd = Crowd(binaries.crowd, server, folder)
        pairs = crowd.delivery(crowd.fill(1), DELIVERIES)
    return tuple(map(times, zip(*pairs)))


class Aging(Server):
    """The product with a clock that only jumps."""

    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "bufsize": 1}

    def jump(self, seconds):
        self.process.stdin.write(f"{seconds}\n")

    def says(self):
        return self.process.stderr.readline().split()


@dataclass
class Expiry:
    """What expired, in how many ms; and echoes in other sessions: in a quiet time, while the expiring ones were told
    that they will expire, and while they did."""

    count: int
    took_ms: float
    quiet: Times
    warned: Times
    expiring: Times


def expiry(binaries, say):
    """One of ten sessions expires while others are used."""
    say(f"expiry: {SESSIONS:,} sessions")
    environment = (("MCP_MAX_SESSIONS", "2000000"), ("MCP_SESSION_CLEANUP_INTERVAL", "1"))
    with tempfile.TemporaryDirectory() as folder, Aging([binaries.aging], "/mcp", environment) as server:
        crowd = Crowd(binaries.crowd, server, folder)
        crowd.fill(EXPIRING)
        server.jump(OLDER_S)
        server.says()
        others = crowd.fill(SESSIONS - EXPIRING)
        say(f"expiry: {EXPIRING:,} of them are warned, then expire")
        quiet = watch(crowd, others, lambda began: (began, began + WATCHED_S))[0]
        warned = watch(crowd, others, lambda began: warn(server))[0]
        expiring, (count, took_us) = watch(crowd, others, lambda began: expire(server))
    return Expiry(count, took_us / 1000, quiet, warned, expiring)


def warn(server):
    """From when to when some are told that they will expire: the sweep comes each second, and is done in the next."""
    time.sleep(1)
    began = time.monotonic()
    server.jump(TO_WARNING_S)
    if server.says() != ["0", "0"]:
        raise SystemExit("sessions expired that were to be warned only")
    return began, began + 2


def expire(server):
    """From when to when they expire, how many and in how many µs."""
    time.sleep(1)
    server.jump(TO_EXPIRY_S)
    if server.says() != ["expiring"]:
        raise SystemExit("no session expires")
    began = time.monotonic()
    count, took_us = map(int, server.says())
    # What was due a little earlier waited too.
    return began - 0.01, began + took_us / 1e6 + 0.01, count, took_us


def watch(crowd, sessions, window):
    """Times of the echoes that were due within the window, and what else `window` returns."""
    pace = crowd.pace(sessions, RATE, WATCHED_S)
    try:
        pace.stdout.readline()
        began = time.monotonic()
        since, until, *more = window(began)
        seen = [tuple(map(int, line.split())) for line in pace.stdout.read().splitlines()]
    except BaseException:
        pace.kill()
        raise
    if pace.wait() != 0:
        raise SystemExit("an echo failed meanwhile")
    return times([took for due, took in seen if since <= began + due / 1e6 <= until]), more
