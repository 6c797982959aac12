"""Runs `crowd`, the program of many clients, beside a server."""

import subprocess
import tempfile
from pathlib import Path

from servers import CLIENT_CPU, pinned


class Crowd:
    """`crowd` against one server."""

    def __init__(self, binary, server, folder):
        self.binary, self.address, self.folder = binary, f"127.0.0.1:{server.port}", folder

    def _command(self, what, *arguments):
        return [self.binary, what, self.address, *map(str, arguments)]

    def _run(self, what, *arguments):
        command = self._command(what, *arguments)
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, preexec_fn=pinned(CLIENT_CPU))
        return [tuple(map(int, line.split())) for line in run.stdout.splitlines()]

    def fill(self, count):
        """Opens sessions. Returns the file with their ids."""
        file = Path(tempfile.mkstemp(dir=self.folder, suffix=".sessions")[1])
        self._run("fill", count, file)
        return file

    def call(self, sessions, times):
        """Echoes in each session."""
        self._run("call", sessions, times)

    def pace(self, sessions, rate, seconds):
        """Starts to echo at a rate. Finished, it has printed when each call was due and how long it took, in µs."""
        command = self._command("pace", sessions, rate, seconds)
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(CLIENT_CPU))

    def delivery(self, sessions, count):
        """Pairs: µs until a call's notification was on the stream, µs until its answer was there."""
        return self._run("delivery", sessions, count)

    def streams(self, path, sessions):
        """Holds open streams, as a context."""
        return Streams(self._command("streams", path, sessions))


class Streams:
    def __init__(self, command):
        self.command = command

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(CLIENT_CPU)
        )
        if self.process.stdout.readline() != "open\n":
            raise SystemExit("the streams cannot be opened")
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
