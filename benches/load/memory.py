"""What sessions, queues and streams take, and what a million sessions do to an echo: resident memory, differences."""

import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cases
from crowd import Crowd
from servers import Server
from throughput import Requests

# Room for all that is measured.
ROOM = (("MCP_MAX_SESSIONS", "2000000"),)
QUEUED, QUEUE = 5_000, 100
STREAMS = 10_000
ECHO = cases.CASES[0]
# Sessions that are used while the others lie idle; and, for comparison, so many that no cache holds them.
IN_USE, SPREAD = 1_000, 100_000


def settled(server):
    """Resident memory when it no longer changes: connections are closed a moment after their client went."""
    before = server.rss()
    while True:
        time.sleep(0.25)
        now = server.rss()
        if abs(now - before) < 65536:
            return now
        before = now


@dataclass
class Idle:
    """Idle sessions: how many, bytes for each, bytes of the whole process, sessions opened a second."""

    sessions: int
    each: float
    whole: int
    per_second: float


def idle_sessions(binaries, sizes, say):
    """Memory at each size, and the CPU time of an echo among the first 1,000 and among all of them."""
    with tempfile.TemporaryDirectory() as folder, Server([binaries.server], "/mcp", ROOM) as many:
        empty = settled(many)
        crowd, ids, rows = Crowd(binaries.crowd, many, folder), [], []
        for size in sizes:
            say(f"memory: {size:,} idle sessions")
            began = time.monotonic()
            more = size - len(ids)
            ids += crowd.fill(more).read_text().split()
            per_second = more / (time.monotonic() - began)
            whole = settled(many)
            rows.append(Idle(size, (whole - empty) / size, whole, per_second))
        with Server([binaries.server], "/mcp", ROOM) as few:
            say(f"CPU of an echo among {IN_USE:,} and among {sizes[-1]:,} sessions")
            own = Crowd(binaries.crowd, few, folder).fill(IN_USE).read_text().split()
            spread = random.Random(1).sample(ids, min(SPREAD, len(ids)))
            return rows, echo_cost(folder, {
                "few": (few, own), "many": (many, ids[:: len(ids) // IN_USE]), "anywhere": (many, spread),
            })


def echo_cost(folder, asked, rounds=9, seconds=1):
    """CPU µs of an echo, medians, by name of the server and its sessions; and `grown`, the median of the rounds' ratios of
    many to few: what slows the machine down for longer slows both."""
    requests, seen = {}, {name: [] for name in asked}
    for name, (_, ids) in asked.items():
        made = [cases.post("/mcp", *ECHO.at(number, session)) for number, session in enumerate(ids)]
        requests[name] = Requests(folder, made)
    for _ in range(rounds):
        for name, (server, _) in asked.items():
            seen[name].append(requests[name].load(server, 16, seconds).cpu_us)
    medians = {name: statistics.median(costs) for name, costs in seen.items()}
    ratios = (many / few for many, few in zip(seen["many"], seen["few"]))
    return {**medians, "grown": statistics.median(ratios)}


def full_queues(binaries, say):
    """Bytes that a session's queue takes when it is full, and the session's last echo."""
    say(f"memory: {QUEUED:,} full queues")
    with tempfile.TemporaryDirectory() as folder, Server([binaries.server], "/mcp", ROOM) as server:
        crowd = Crowd(binaries.crowd, server, folder)
        ids = crowd.fill(QUEUED)
        before = settled(server)
        crowd.call(ids, QUEUE + 10)
        return (settled(server) - before) / QUEUED


def open_streams(binaries, say):
    """Bytes of an open GET stream: the floor's and the server's."""
    say(f"memory: {STREAMS:,} open streams")
    with tempfile.TemporaryDirectory() as folder:
        with Server([binaries.server], "/mcp", ROOM) as server:
            crowd = Crowd(binaries.crowd, server, folder)
            ids = crowd.fill(STREAMS)
            ours = held(server, crowd, "/mcp", ids)
        with Server([binaries.floor, "{port}"], "/json") as floor:
            return held(floor, Crowd(binaries.crowd, floor, folder), "/stream", ids), ours


def held(server, crowd, path, ids: Path):
    before = settled(server)
    with crowd.streams(path, ids):
        return (settled(server) - before) / STREAMS
