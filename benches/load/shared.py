"""What a store in Redis costs: scripts an echo, and its time and rate beside those of the bare script."""

import http.client
import itertools
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import stores
import throughput
from servers import Server, free_port

SCRIPTS = Path(__file__).parents[2] / "src/session/redis"
# Echoes whose scripts are counted.
COUNTED = 300
# Commits of the bare script.
BARE = 20_000


class Redis:
    """A Redis that keeps nothing: its own disk is not what is measured."""

    def __enter__(self):
        self.port = free_port()
        self.folder = tempfile.mkdtemp()
        command = ["redis-server", "--port", str(self.port), "--save", "", "--appendonly", "no", "--dir", self.folder]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while self.cli("ping") != "PONG":
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)

    @property
    def store(self):
        return {"MCP_STORE": f"redis://127.0.0.1:{self.port}"}

    def cli(self, *arguments):
        command = ["redis-cli", "-p", str(self.port), *arguments]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    def scripts(self):
        """How many it has run."""
        found = re.search(r"cmdstat_evalsha:calls=(\d+)", self.cli("info", "commandstats"))
        return int(found[1]) if found else 0

    def bare(self, connections, record, message):
        """The commit's own script, without a server before it: commits a second, and the median in µs. The version that is
        expected is always the right one: redis-benchmark cannot know it."""
        commit = (SCRIPTS / "commit.lua").read_text().replace("if h.v ~= expected or barred then", "if barred then")
        create, head = (SCRIPTS / "create.lua").read_text(), (SCRIPTS / "head.lua").read_text()
        keys = ["b:{s}:s", "b:{s}:q"]
        self.cli("eval", f"#!lua\n{head}{create}", "2", *keys, "b:", "s", "1.0", record, "3600000", "100", "0", "", "1", "0", "0")
        sha = self.cli("script", "load", f"#!lua\n{head}{commit}")
        arguments = ["b:", "s", "1.__rand_int__", "1.0", "9" * 15 + "000", "0", "1", record, "1", "1", message, "0"]
        run = subprocess.run(
            ["redis-benchmark", "-p", str(self.port), "-c", str(connections), "-n", str(BARE), "-r", "1000000000", "--csv",
             "evalsha", sha, "2", *keys, *arguments],
            capture_output=True, text=True, check=True,
        )
        # The first column is the whole command, commas and quotes included.
        _, rate, _, _, p50, _, _, _ = run.stdout.splitlines()[-1].rsplit(",", 7)
        return float(rate.strip('"')), float(p50.strip('"')) * 1000


@dataclass
class Figures:
    """Medians of the rounds."""

    bare_alone_us: float
    bare_per_second: float
    alone_us: float
    per_second: float
    cpu_us: float
    # Scripts an echo.
    sticky: float
    streamed: float
    round_robin: float
    # Scripts a call, of 64 at once on one session over four replicas.
    at_once: float
    # Bytes of an idle session, and of one with 100 messages.
    idle_bytes: int
    full_bytes: int


class Client:
    """One session, used at any of several servers."""

    def __init__(self, servers):
        self.servers = servers
        body = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
        answer = self.post(servers[0], {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": body}, None)
        self.id = answer.getheader("Mcp-Session-Id")
        self.post(servers[0], {"jsonrpc": "2.0", "method": "notifications/initialized"}, self.id)

    @staticmethod
    def post(server, body, session):
        headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        if session:
            headers |= {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-06-18"}
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("POST", "/mcp", json.dumps(body), headers)
        answer = connection.getresponse()
        answer.body = answer.read()
        return answer

    def echo(self, server):
        params = {"name": "echo", "arguments": {"message": "hello"}}
        answer = self.post(server, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, self.id)
        if answer.status != 200:
            raise SystemExit(f"echo: {answer.status} {answer.body}")

    def stream(self, server):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/mcp", headers={"Accept": "text/event-stream", "Mcp-Session-Id": self.id})
        answer = connection.getresponse()
        threading.Thread(target=lambda: answer.read(), daemon=True).start()


def counted(redis, client, servers):
    """Scripts an echo, one after the other."""
    client.echo(servers[0])
    before = redis.scripts()
    for server in itertools.islice(itertools.cycle(servers), COUNTED):
        client.echo(server)
    return (redis.scripts() - before) / COUNTED


def at_once(redis, client, servers, folder, seconds):
    """Scripts a call, of 64 connections with one session over all servers."""
    requests = throughput.Requests(folder, stores.echo().requests("/mcp", [client.id] * 64))
    before = redis.scripts()
    with ThreadPoolExecutor() as threads:
        connections = 64 // len(servers)
        loads = list(threads.map(lambda server: requests.load(server, connections, seconds), servers))
    return (redis.scripts() - before) / sum(load.per_second * seconds for load in loads)


def bytes_of(redis, client):
    usage = (redis.cli("memory", "usage", f"mcp:{{{client.id}}}:{kind}", "samples", "0") for kind in "sq")
    return sum(int(found or 0) for found in usage)


def run(built, rounds, seconds, say):
    seen = []
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}: Redis")
        with Redis() as redis, tempfile.TemporaryDirectory() as folder:
            with Server([built.server], "/mcp", redis.store) as a, Server([built.server], "/mcp", redis.store) as b:
                client = Client([a])
                idle = bytes_of(redis, client)
                sticky = counted(redis, client, [a])
                full = bytes_of(redis, client)
                record = redis.cli("hget", f"mcp:{{{client.id}}}:s", "r")
                message = redis.cli("lindex", f"mcp:{{{client.id}}}:q", "-1").split(" ", 2)[2]
                round_robin = counted(redis, client, [a, b])
                client.stream(b)
                streamed = counted(redis, client, [a])
                with Server([built.server], "/mcp", redis.store) as c, Server([built.server], "/mcp", redis.store) as d:
                    four = at_once(redis, Client([a]), [a, b, c, d], folder, seconds)
            bare, bare_64 = redis.bare(1, record, message), redis.bare(64, record, message)
            alone = stores.load(built, folder, redis.store, 1, seconds)
            many = stores.load(built, folder, redis.store, 64, seconds)
        seen.append(
            Figures(bare[1], bare_64[0], alone.p50_us, many.per_second, many.cpu_us, sticky, streamed, round_robin, four, idle, full)
        )
    return Figures(*(statistics.median(figures) for figures in zip(*(vars(one).values() for one in seen))))
