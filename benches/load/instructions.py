"""Instructions a request outside the kernel, and lines of 64 bytes that they miss in the first-level caches (32 KiB each,
simulated), counted by callgrind: the same on a busy machine as on a quiet one."""

import http.client
import socket
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path

import cases
from servers import Server
from throughput import result_file, sessions_of

# The difference of two runs: what starting and ending takes is in both.
FEW, MANY = 200, 1_200


@dataclass
class Counts:
    """What callgrind counted."""

    instructions: float
    code_misses: float
    data_misses: float


def count(command, path, case, requests):
    """What a server did from its start to its end, with so many requests between."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        valgrind = ["valgrind", "--tool=callgrind", "--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", f"--log-file={log}", f"--callgrind-out-file={folder}/out"]
        # Asked so slowly, every request would have a line in the log, which nearly none has under load.
        with Server([*valgrind, *command], path, (*case.environment, *cases.QUIET)) as server:
            session = sessions_of(case, server, 1)[0] if path == "/mcp" else "none"
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
                for number in range(requests):
                    connection.sendall(cases.post(path, *case.at(number, session)))
                    response = http.client.HTTPResponse(connection)
                    response.begin()
                    response.read()
        found = {}
        for line in log.read_text().splitlines():
            for word in ("Events", "Collected"):
                if f" {word} " in line:
                    found[word] = line.split(":")[1].split()
        counted = {event: int(number) for event, number in zip(found["Events"], found["Collected"])}
        return Counts(counted["Ir"], counted["I1mr"], counted["D1mr"] + counted["D1mw"])


def a_request(target, case):
    """What one request takes."""
    few, many = (astuple(count(*target, case, requests)) for requests in (FEW, MANY))
    return Counts(*((after - before) / (MANY - FEW) for before, after in zip(few, many)))


def run(binaries, chosen, say):
    """(case, the floor's counts a request, the server's) for each case."""
    rows = []
    for case in chosen:
        say(f"instructions: {case.title}")
        with tempfile.TemporaryDirectory() as folder:
            with Server([binaries.server], "/mcp", case.environment) as server:
                file = result_file(case, server, sessions_of(case, server, 1)[0], folder)
            floor = [binaries.floor, "{port}", str(file)], "/sse" if case.sse else "/json"
            each = [a_request(target, case) for target in (floor, ([binaries.server], "/mcp"))]
        rows.append((case, *each))
    return rows


def table(rows):
    """The rows as Markdown: floor / server."""
    lines = [
        "| request | instructions | ratio | lines of code missed | lines of data missed |",
        "|---|---|---|---|---|",
    ]
    for case, floor, server in rows:
        ratio = server.instructions / floor.instructions
        both = [f"{a:,.0f} / {b:,.0f}" for a, b in zip(astuple(floor), astuple(server))]
        lines.append(f"| {case.title} | {both[0]} | {ratio:.2f} | {both[1]} | {both[2]} |")
    return "\n".join(lines)
