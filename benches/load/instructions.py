"""Instructions a request outside the kernel, counted by callgrind: the same on a busy machine as on a quiet one."""

import http.client
import socket
import tempfile
from pathlib import Path

import cases
from servers import Server
from throughput import result_file, sessions_of

# The difference of two runs: what starting and ending takes is in both.
FEW, MANY = 200, 1_200


def count(command, path, case, requests):
    """Instructions of a server from its start to its end, with so many requests between."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        valgrind = ["valgrind", "--tool=callgrind", f"--log-file={log}", f"--callgrind-out-file={folder}/out"]
        with Server([*valgrind, *command], path, case.environment) as server:
            session = sessions_of(case, server, 1)[0] if path == "/mcp" else "none"
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
                for number in range(requests):
                    connection.sendall(cases.post(path, *case.at(number, session)))
                    response = http.client.HTTPResponse(connection)
                    response.begin()
                    response.read()
        line = next(line for line in log.read_text().splitlines() if "Collected" in line)
        return int(line.split(":")[1])


def run(binaries, chosen, say):
    """(case, floor's instructions a request, server's) for each case."""
    rows = []
    for case in chosen:
        say(f"instructions: {case.title}")
        with tempfile.TemporaryDirectory() as folder:
            with Server([binaries.server], "/mcp", case.environment) as server:
                file = result_file(case, server, sessions_of(case, server, 1)[0], folder)
            floor = [binaries.floor, "{port}", str(file)], "/sse" if case.sse else "/json"
            each = [
                (count(*target, case, MANY) - count(*target, case, FEW)) / (MANY - FEW)
                for target in (floor, ([binaries.server], "/mcp"))
            ]
        rows.append((case, *each))
    return rows


def table(rows):
    """The rows as Markdown."""
    lines = ["| request | floor, instructions | server, instructions | ratio |", "|---|---|---|---|"]
    lines += [f"| {case.title} | {floor:,.0f} | {server:,.0f} | {server / floor:.2f} |" for case, floor, server in rows]
    return "\n".join(lines)
