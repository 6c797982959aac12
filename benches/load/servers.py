"""The servers under load: started on a CPU of their own, asked, measured from /proc, stopped."""

import http.client
import json
import os
import socket
import subprocess
import time
from pathlib import Path

import cases

# Under valgrind, on a busy machine.
STARTING_S = 120


def cpus():
    """The server's CPU and the client's."""
    free = sorted(os.sched_getaffinity(0))
    if len(free) < 2:
        raise SystemExit("the load bench needs two CPUs: one for the server, one for its clients")
    return free[1], free[0]


SERVER_CPU, CLIENT_CPU = cpus()


def pinned(cpu):
    return lambda: os.sched_setaffinity(0, {cpu})


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A process that listens. Use as a context: it is stopped at the end."""

    # What is read and written beside HTTP.
    pipes = {"stdin": subprocess.DEVNULL}

    def __init__(self, command, path, environment=(), probe=None):
        self.command, self.path, self.environment = command, path, dict(environment)
        self.probe = probe or cases.post(path, cases.body("ping"), [("Accept", cases.JSON_FIRST)])

    def __enter__(self):
        self.port = free_port()
        # Nothing of the caller's environment changes what is measured: defaults, and what the case asks for.
        environment = {"PATH": os.environ["PATH"], "MCP_ECHO_PORT": str(self.port), "MCP_ADMIN_ADDR": "off", **self.environment}
        command = [argument.format(port=self.port) for argument in self.command]
        began = time.perf_counter()
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, preexec_fn=pinned(SERVER_CPU), **self.pipes
        )
        try:
            self._await_answer()
        except BaseException:
            self.__exit__()
            raise
        self.start_ms = (time.perf_counter() - began) * 1000
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _await_answer(self):
        until = time.monotonic() + STARTING_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise SystemExit(f"{self.command[0]} ended at once with {self.process.returncode}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=STARTING_S) as connection:
                    connection.sendall(self.probe)
                    if connection.recv(65536).startswith(b"HTTP/1.1 200"):
                        return
            except ConnectionError:
                pass
            time.sleep(0.0002)
        raise SystemExit(f"{self.command[0]} does not answer")

    def ask(self, content, headers):
        """The headers and the body of an answer; a stream's first event counts as its body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"Content-Type": "application/json", **dict(headers)}
            connection.request("POST", self.path, content, headers)
            response = connection.getresponse()
            text = response.read().decode()
            if response.status not in (200, 202):
                raise SystemExit(f"{self.command[0]} answers {response.status}: {text}")
            data = [line[5:] for line in text.splitlines() if line.startswith("data:")] or [text]
            return response.headers, json.loads(data[0]) if data[0] else None
        finally:
            connection.close()

    def session(self):
        """The id of a new session, handshake done."""
        headers, _ = self.ask(cases.initialize(), [("Accept", cases.JSON_FIRST)])
        session = headers["Mcp-Session-Id"]
        ready = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
        self.ask(ready, cases.in_session(session))
        return session

    def handle(self):
        """The handle of a new session of the stateless era."""
        _, answer = self.ask(*cases.modern_echo(0, None))
        return answer["result"]["structuredContent"]["sessionId"]

    def cpu_ns(self):
        """CPU time of all threads so far, in nanoseconds: /proc/PID/stat counts in hundredths of a second."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except FileNotFoundError:
                pass  # a thread that ended meanwhile
        return total

    def rss(self):
        """Resident memory in bytes, exact: /proc/PID/statm may lag."""
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        raise SystemExit("no Rss in smaps_rollup")
