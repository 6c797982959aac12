"""What a store costs: echo on disk beside echo in memory and beside the disk's own fdatasync, and a start with many sessions."""

import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cases
import throughput
from servers import Server

# How often the disk is asked by itself.
SYNCS = 300


@dataclass
class Figures:
    """Medians of the rounds."""

    # One fdatasync of 4 KiB appended to a file in the same folder, in microseconds.
    sync_us: float
    # Echo at one connection: half of the answers came sooner, in microseconds.
    alone_us: float
    # Echo at 64 connections.
    memory: throughput.Load
    disk: throughput.Load


def sync_us(folder):
    """The median time of an fdatasync."""
    took = []
    with open(Path(folder) / "sync", "wb") as file:
        for _ in range(SYNCS):
            file.write(bytes(4096))
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1e6)
    return statistics.median(took)


def store_in(folder, name="sessions"):
    return {"MCP_STORE": f"disk:{folder}/{name}"}


def echo():
    return next(case for case in cases.CASES if case.name == "echo")


def run(built, rounds, seconds, say):
    """All rounds, in the folder for temporary files: TMPDIR says which disk is measured."""
    syncs, alone, memory, disk = [], [], [], []
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}: stores")
        with tempfile.TemporaryDirectory() as folder:
            syncs.append(sync_us(folder))
            memory.append(load(built, folder, {}, 64, seconds))
            disk.append(load(built, folder, store_in(folder), 64, seconds))
            alone.append(load(built, folder, store_in(folder, "alone"), 1, seconds).p50_us)
    return Figures(
        statistics.median(syncs), statistics.median(alone), throughput.median(memory), throughput.median(disk)
    )


def load(built, folder, environment, connections, seconds):
    case = echo()
    with Server([built.server], "/mcp", {**dict(case.environment), **environment}) as server:
        sessions = throughput.sessions_of(case, server, max(connections, cases.SESSIONS))
        return throughput.Requests(folder, case.requests("/mcp", sessions)).load(server, connections, seconds)
