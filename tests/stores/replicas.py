"""Four replicas behind a real Traefik, one real Redis, and everything goes wrong: replicas and Redis are killed, frozen and
started again while clients call tools and read streams at whatever replica Traefik picks.

Each client writes down what was acknowledged. In the end every message of an acknowledged call has come once, in order, with
an id that came once; what was answered with an error has come once or not at all; counts are what was acknowledged.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CLIENTS = 6
REPLICAS = 4
# How long a client waits for an answer: longer than anything is frozen.
PATIENCE_S = 15
# How long everything may take to be delivered when nothing goes wrong any more.
DRAIN_S = 60


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Process:
    """A process that can be killed, frozen and started again."""

    def __init__(self, command: list[str], port: int, environment: dict[str, str] | None = None):
        self.command, self.port = command, port
        self.environment = {"PATH": os.environ["PATH"], **(environment or {})}
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise SystemExit(f"{self.command[0]} does not listen")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self, seconds: float) -> None:
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)


class Client:
    """A session: one thread calls, another reads."""

    def __init__(self, port: int, calls: int):
        self.port, self.calls = port, calls
        self.acknowledged: list[str] = []
        self.in_doubt: set[str] = set()
        # The ids of events, and of the calls that they are about, as they came.
        self.events: list[str] = []
        self.delivered: list[str] = []
        self.warnings: list[str] = []
        self.last_event: str | None = None
        self.refusals = self.streams = self.count = 0
        self.done = self.over = False
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "replicas", "version": "1"}}
        status, headers, _ = self.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
        if status != 200:
            raise SystemExit(f"initialize: {status}")
        self.headers["Mcp-Session-Id"] = headers["Mcp-Session-Id"]
        self.headers["MCP-Protocol-Version"] = "2025-11-25"
        self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.call, self.read)]

    headers: dict[str, str]
    connection: http.client.HTTPConnection | None

    def post(self, body: dict) -> tuple[int, http.client.HTTPMessage, bytes]:
        if not hasattr(self, "headers"):
            self.headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
            self.connection = None
        self.connection = self.connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            self.connection.request("POST", "/mcp", json.dumps(body), self.headers)
            answer = self.connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise

    def call(self) -> None:
        for n in range(self.calls):
            for attempt in itertools.count():
                name = f"{n}.{attempt}"
                params = {"name": "echo", "arguments": {"message": name}}
                try:
                    status, _, body = self.post({"jsonrpc": "2.0", "id": name, "method": "tools/call", "params": params})
                except (OSError, http.client.HTTPException):
                    status, body = 0, b""
                if status == 200:
                    self.acknowledged.append(name)
                    self.count = json.loads(body)["result"]["structuredContent"]["echoCount"]
                    break
                self.refusals += 1
                data = json.loads(body)["error"].get("data", {}) if body.startswith(b"{") else {}
                if data.get("reason") or status == 404:
                    raise SystemExit(f"the session is gone: {status} {body!r}")
                # What the server calls refused was not done. What a proxy or a dead connection says may have been.
                if data.get("outcome") != "refused":
                    self.in_doubt.add(name)
                time.sleep(0.05)
        self.done = True

    def read(self) -> None:
        while not self.over:
            headers = {**self.headers, "Accept": "text/event-stream"}
            if self.last_event:
                headers["Last-Event-ID"] = self.last_event
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
            try:
                connection.request("GET", "/mcp", headers=headers)
                answer = connection.getresponse()
                if answer.status == 200:
                    self.streams += 1
                    self.follow(answer)
                else:
                    answer.read()
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(0.05)

    def follow(self, answer: http.client.HTTPResponse) -> None:
        fields: dict[str, str] = {}
        hops = random.uniform(2, 6)
        began = time.monotonic()
        while line := answer.readline():
            text = line.decode().rstrip("\n")
            if text:
                name, _, value = text.partition(": ")
                fields[name] = value
                continue
            # What has no data yet only says where to resume from.
            if fields.get("id"):
                self.last_event = fields["id"]
            if fields.get("data") and fields.get("event") != "keep-alive":
                self.note(fields.get("id", ""), json.loads(fields["data"]))
            fields = {}
            if self.over or time.monotonic() - began > hops:
                return

    def note(self, id: str, message: dict) -> None:
        data = message["params"]["data"]
        logger = message["params"].get("logger")
        if logger == "queue":
            self.warnings.append(data["message"])
        elif logger == "tools.echo":
            self.events.append(id)
            self.delivered.append(data["requestId"])

    def complete(self) -> bool:
        return self.done and set(self.acknowledged) <= set(self.delivered)

    def faults(self) -> list[str]:
        """What did not hold."""
        found = []
        missing = [name for name in self.acknowledged if name not in set(self.delivered)]
        if missing:
            found.append(f"{len(missing)} acknowledged and not delivered: {missing[:5]}")
        for what, names in (("events", self.events), ("messages", self.delivered)):
            if len(set(names)) != len(names):
                twice = {name for name in names if names.count(name) > 1}
                found.append(f"{what} came twice: {sorted(twice)[:5]}")
        order = [tuple(map(int, name.split("."))) for name in self.delivered]
        if order != sorted(order):
            found.append("out of order")
        foreign = set(self.delivered) - set(self.acknowledged) - self.in_doubt
        if foreign:
            found.append(f"delivered, though refused: {sorted(foreign)[:5]}")
        if not len(self.acknowledged) <= self.count <= len(self.acknowledged) + len(self.in_doubt):
            found.append(f"counted {self.count}, acknowledged {len(self.acknowledged)}, in doubt {len(self.in_doubt)}")
        lost = [warning for warning in self.warnings if "lost" in warning]
        if lost:
            found.append(f"told of losses: {lost[:2]}")
        return found


def traefik_configuration(folder: Path, port: int, servers: list[int]) -> list[str]:
    urls = [{"url": f"http://127.0.0.1:{server}"} for server in servers]
    dynamic = {
        "http": {
            "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "replicas", "entryPoints": ["web"]}},
            "services": {
                "replicas": {
                    "loadBalancer": {
                        "servers": urls,
                        "healthCheck": {"path": "/healthz", "interval": "500ms", "timeout": "400ms"},
                    }
                }
            },
        }
    }
    (folder / "dynamic.yml").write_text(json.dumps(dynamic))
    return [f"--entrypoints.web.address=127.0.0.1:{port}", f"--providers.file.filename={folder}/dynamic.yml"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--traefik", required=True)
    parser.add_argument("--messages", type=int, default=10_000)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    seed = int.from_bytes(os.urandom(4), "big")
    random.seed(seed)
    print(f"{CLIENTS} clients, {REPLICAS} replicas, {given.messages} messages, seed {seed}", flush=True)
    started: list[Process] = []
    try:
        run(given, folder, started)
    finally:
        for process in started:
            process.process.send_signal(signal.SIGCONT)
            process.kill()
        shutil.rmtree(folder)


def run(given: argparse.Namespace, folder: Path, started: list[Process]) -> None:
    redis_port, proxy_port = free_port(), free_port()
    redis = Process(
        ["redis-server", "--port", str(redis_port), "--save", "", "--appendonly", "yes", "--dir", str(folder)], redis_port
    )
    started.append(redis)
    replicas = []
    for _ in range(REPLICAS):
        port = free_port()
        environment = {
            "MCP_ECHO_PORT": str(port),
            "MCP_STORE": f"redis://127.0.0.1:{redis_port}",
            "MCP_MESSAGE_QUEUE_SIZE": "10000",
        }
        replicas.append(Process([given.server], port, environment))
        started.append(replicas[-1])
    command = [given.traefik, *traefik_configuration(folder, proxy_port, [replica.port for replica in replicas])]
    started.append(Process(command, proxy_port))
    time.sleep(2)
    clients = [Client(proxy_port, given.messages // CLIENTS) for _ in range(CLIENTS)]
    for client in clients:
        for thread in client.threads:
            thread.start()
    began = time.monotonic()
    done: dict[str, int] = {}
    while not all(client.done for client in clients):
        what = random.choice(["kill a replica", "freeze a replica", "freeze Redis", "kill Redis", "nothing"])
        done[what] = done.get(what, 0) + 1
        match what:
            case "kill a replica":
                victim = random.choice(replicas)
                victim.kill()
                time.sleep(random.uniform(0, 1))
                victim.start()
            case "freeze a replica":
                random.choice(replicas).freeze(random.uniform(0.1, 4))
            case "freeze Redis":
                redis.freeze(random.uniform(0.1, 3))
            case "kill Redis":
                redis.kill()
                time.sleep(random.uniform(0, 1))
                redis.start()
        time.sleep(random.uniform(0.5, 2))
        if not any(thread.is_alive() for client in clients for thread in client.threads[:1]) and not all(
            client.done for client in clients
        ):
            raise SystemExit("a client gave up")
    print(f"all calls answered after {time.monotonic() - began:.0f} s; {done}", flush=True)
    until = time.monotonic() + DRAIN_S
    while not all(client.complete() for client in clients) and time.monotonic() < until:
        time.sleep(0.1)
    for client in clients:
        client.over = True
    faults = [fault for client in clients for fault in client.faults()]
    acknowledged = sum(len(client.acknowledged) for client in clients)
    print(
        f"{acknowledged} acknowledged and delivered once, in order, over {sum(client.streams for client in clients)} streams; "
        f"{sum(client.refusals for client in clients)} errors, {sum(len(client.in_doubt) for client in clients)} in doubt"
    )
    if faults:
        print("\n".join(faults), file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
