"""Programs of a test: each on a free port of 127.0.0.1, as nobody, ended by its process id."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from http_client import Mismatch, require, until

NOBODY = 65534
"""Who proxies run as where root starts this: they come from elsewhere, and need to be nobody."""


GIVEN: set[int] = set()
"""Ports that were given out: programs bind theirs one after the other, and none must get another's."""


def free_port() -> int:
    """Below those that connections take by themselves (Linux: 32768 and up), which could come between."""
    while True:
        port = random.randrange(20_000, 32_000)
        if port in GIVEN:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        GIVEN.add(port)
        return port


class Program:
    """A child process and the lines that it prints."""

    def __init__(
        self, name: str, command: list[str], environment: dict[str, str] | None = None, trusted: bool = False
    ) -> None:
        self.name = name
        self.lines: list[str] = []
        user: dict[str, Any] = {}
        if not trusted and os.getuid() == 0:
            user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        # Not the caller's environment: a TRAEFIK_… or an HTTP_PROXY in it would be another test.
        environment = {"PATH": os.environ["PATH"], **(environment or {})}
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            **user,
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def line(self, pattern: str) -> re.Match[str]:
        """The first line that the pattern is found in, once it is there."""

        def found() -> Any:
            ended = self.process.poll() is not None
            match = next(filter(None, (re.search(pattern, line) for line in list(self.lines))), None)
            if ended and not match:
                raise Mismatch(f"{self.name} ended with {self.process.returncode}: {self.last_lines()}")
            return match

        match: re.Match[str] = until(f"{self.name} says {pattern!r}", found)
        return match

    def last_lines(self) -> str:
        return "\n".join(self.lines[-30:])

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.reader.join(5)
        return self.process.returncode


def folder(base: Path, name: str) -> Path:
    """A folder that a proxy may write to."""
    made = base / name
    made.mkdir()
    if os.getuid() == 0:
        os.chown(made, NOBODY, NOBODY)
    return made


def start(stack: ExitStack, program: Program, port: int, number: int = signal.SIGTERM) -> None:
    stack.callback(program.stop, number)

    def listens() -> bool:
        require(program.process.poll() is None, f"{program.name} ended:\n{program.last_lines()}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    until(f"{program.name} listens", listens)
