"""Requests a second, CPU time a request and latency of each case: floor and server in turn, medians of the rounds."""

import json
import statistics
import subprocess
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path

import cases
from servers import CLIENT_CPU, Server, pinned

LUA = Path(__file__).parent / "wrk.lua"


@dataclass
class Load:
    """What one run of wrk saw."""

    per_second: float
    cpu_us: float
    p50_us: float
    p99_us: float


class Requests:
    """The requests of a case in a file, for wrk."""

    def __init__(self, folder, requests):
        self.file = Path(tempfile.mkstemp(dir=folder, suffix=".requests")[1])
        self.file.write_bytes(b"".join(b"%d\n%s" % (len(request), request) for request in requests))

    def load(self, server, connections, seconds):
        """One run."""
        command = [
            "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", LUA, f"http://127.0.0.1:{server.port}/", "--",
            self.file,
        ]
        before = server.cpu_ns()
        run = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=pinned(CLIENT_CPU))
        cpu_ns = server.cpu_ns() - before
        result = next(line for line in run.stdout.splitlines() if line.startswith("RESULT "))
        saw = json.loads(result.removeprefix("RESULT "))
        if saw["errors"] or not saw["requests"]:
            raise SystemExit(f"wrk saw errors: {run.stdout}")
        done = saw["requests"]
        return Load(done / saw["us"] * 1e6, cpu_ns / done / 1000, saw["p50"], saw["p99"])


def sessions_of(case, server, count):
    """The ids of sessions to send a case's requests to, as it wants them."""
    make = {"handshake": server.session, "handle": server.handle, None: lambda: None}[case.session]
    return [make() for _ in range(count)]


def result_file(case, server, session, folder):
    """The server's result, for the floor to answer as much; it shows as well that the server does what is measured."""
    answer = server.ask(*case.at(0, session))[1]
    result = answer.get("result")
    if result is None or result.get("isError"):
        raise SystemExit(f"{case.name}: the server answers {json.dumps(answer)}")
    file = Path(folder) / "result.json"
    file.write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")))
    return file


def measure(binaries, case, connections, seconds, folder):
    """One round of a case: loads by number of connections, of the floor and of the server."""
    with Server([binaries.server], "/mcp", case.environment) as server:
        sessions = sessions_of(case, server, cases.SESSIONS)
        file = result_file(case, server, sessions[0], folder)
        path = "/sse" if case.sse else "/json"
        with Server([binaries.floor, "{port}", str(file)], path) as floor:
            to_floor = Requests(folder, case.requests(path, sessions))
            to_server = Requests(folder, case.requests("/mcp", sessions))
            return {
                number: (to_floor.load(floor, number, seconds), to_server.load(server, number, seconds))
                for number in connections
            }


@dataclass
class Row:
    """Medians of a case at a number of connections. `ratio` is the median of the rounds' ratios: the two runs of a
    round lie side by side, so that what slows the machine down for longer slows both."""

    case: cases.Case
    connections: int
    floor: Load
    server: Load
    ratio: Load


def row(case, connections, pairs):
    ratios = [over(server, floor) for floor, server in pairs]
    floors, servers = zip(*pairs)
    return Row(case, connections, median(floors), median(servers), median(ratios))


def over(server, floor):
    return Load(*(ours / theirs for ours, theirs in zip(astuple(server), astuple(floor))))


def median(loads):
    return Load(*map(statistics.median, zip(*map(astuple, loads))))


def run(binaries, chosen, connections, rounds, seconds, say):
    """All rounds of all cases: rows in their order."""
    seen = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for case in chosen:
                say(f"round {number + 1} of {rounds}: {case.title}")
                for at, pair in measure(binaries, case, connections, seconds, folder).items():
                    seen.setdefault((case, at), []).append(pair)
    return [row(case, at, pairs) for (case, at), pairs in seen.items()]


def table(rows):
    """The rows as Markdown: floor / server."""
    lines = [
        "| request | connections | requests/s | ratio | CPU µs a request | ratio | p50, µs | p99, µs | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        floor, server, ratio = row.floor, row.server, row.ratio
        lines.append(
            f"| {row.case.title} | {row.connections} | {floor.per_second:,.0f} / {server.per_second:,.0f} "
            f"| {ratio.per_second:.2f} | {floor.cpu_us:.1f} / {server.cpu_us:.1f} | {ratio.cpu_us:.2f} "
            f"| {floor.p50_us:,.0f} / {server.p50_us:,.0f} | {floor.p99_us:,.0f} / {server.p99_us:,.0f} "
            f"| {ratio.p99_us:.2f} |"
        )
    return "\n".join(lines)
