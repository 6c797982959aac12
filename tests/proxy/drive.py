"""The server behind real proxies: what has to hold through each of them, checked line by line.

    drive.py --server BINARY --traefik BINARY --folder FOLDER

`ok PROXY WHAT DETAIL` or `FAILED PROXY WHAT REASON` for each check; exit code 1 when one failed. The proxies are tried
at the same time, each with a server of its own, because each lets a stream be silent for more than a minute.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import one_server
import programs
import replicas
from front import Front, Report, User
from latency import Turns, latency
from programs import AuthStub, Server


def directly(front: Front, turns: Turns) -> None:
    """What the proxies' figures are to be compared with."""
    with front.check("GET stream without a proxy, for comparison") as detail, turns.turn():
        user = User(("127.0.0.1", front.server.port), f"127.0.0.1:{front.server.port}", None)
        user.initialize()
        detail.append(latency(user, front.server))
    with front.check("the server ends well, and has logged no error"):
        front.server.stop()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", type=Path, required=True)
    parser.add_argument("--traefik", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    # So that `finally` is reached, and nothing keeps running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report, turns, began = Report(), Turns(5), time.monotonic()
    with ExitStack() as stack:
        stub = AuthStub()
        stack.callback(stub.stop)

        def server() -> Server:
            started = Server(options.server.resolve())
            stack.callback(lambda: started.program.stop())
            return started

        tracks: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

        def front(
            name: str, called: str, passes_underscores: bool, listen: Callable[[Server], int], public: str = programs.HOST
        ) -> Front:
            own = server()
            return Front(name, called, listen(own), own, stub, report, passes_underscores, public)

        tracks.append((directly, (front("direct", "", False, lambda own: own.port), turns)))
        traefik = front(
            "traefik", "Traefik", True, lambda own: programs.traefik(stack, options.traefik.resolve(), [own], stub)
        )
        folder, public = options.folder, programs.PUBLIC
        nginx = front("nginx", "nginx (likely)", False, lambda own: programs.nginx(stack, own, stub, folder), public)
        caddy = front("caddy", "Caddy", False, lambda own: programs.caddy(stack, own, stub, folder), public)
        tracks += [(one_server.behind, (each, turns)) for each in (traefik, nginx, caddy)]
        several = [server(), server()]

        def balanced(name: str, *labels: str) -> Front:
            port = programs.traefik(stack, options.traefik.resolve(), several, stub, labels, replicas.DROP_ALIASES)
            return Front(name, "Traefik", port, several[0], stub, report, False)

        balancers = balanced("replicas"), balanced("sticky", ".sticky."), balanced("hashed", ".strategy=")
        tracks.append((replicas.behind, (*balancers, several, turns)))
        threads = [threading.Thread(target=run, args=arguments, daemon=True) for run, arguments in tracks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(f"{report.passed} checks ok, {report.failed} failed, after {time.monotonic() - began:.0f} s")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
