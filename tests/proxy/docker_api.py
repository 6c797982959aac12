"""Docker's API, as far as Traefik's Docker provider asks it: the containers of docker-compose.yml, with its own labels.

So it is the labels themselves that are tested, by Traefik's own reading of them. A container is only what Traefik sees
of one: labels, and an address, behind which something listens already.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

VERSION = "1.44"
"""Of the API: Docker 25, the oldest that Docker itself still supports."""


@dataclass
class Container:
    name: str
    address: str
    labels: dict[str, str]


def compose_labels(
    file: Path, service: str, environment: dict[str, str], uncomment: tuple[str, ...] = ()
) -> dict[str, str]:
    """The labels of a service, with variables put in as compose does, also those commented ones that have one of the
    parts `uncomment`."""
    text = file.read_text()
    for part in uncomment:
        text, count = re.subn(rf'^(\s+)# (- "[^"]*{re.escape(part)}[^"]*")', r"\1\2", text, flags=re.MULTILINE)
        if count == 0:
            raise ValueError(f"{file} has no commented label with {part!r}")
    labels = yaml.safe_load(text)["services"][service]["labels"]
    return dict(substituted(label, environment).split("=", 1) for label in labels)


def substituted(text: str, environment: dict[str, str]) -> str:
    """`${NAME:-DEFAULT}` and `$$`, which is all that the labels have."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match["name"] is None:
            raise ValueError(f"not understood: {text}")
        return environment.get(match["name"]) or match["default"] or ""

    return re.sub(r"\$\$|\$\{(?P<name>\w+)(:-(?P<default>[^}]*))?\}|\$", value, text)


class DockerApi(ThreadingHTTPServer):
    daemon_threads = True
    containers: list[Container]

    def __init__(self, containers: list[Container], network: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.containers = containers
        self.network = network
        self.ended = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self.server_port}"

    def end(self) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()

    def listed(self) -> list[dict[str, Any]]:
        return [
            {"Id": container.name, "Names": [f"/{container.name}"], "State": "running"} for container in self.containers
        ]

    def inspected(self, name: str) -> dict[str, Any]:
        container = next(container for container in self.containers if container.name == name)
        return {
            "Id": container.name,
            "Name": f"/{container.name}",
            "State": {"Status": "running", "Running": True},
            "HostConfig": {"NetworkMode": self.network},
            "Config": {"Labels": container.labels},
            "NetworkSettings": {"Networks": {self.network: {"IPAddress": container.address}}},
        }


class Handler(BaseHTTPRequestHandler):
    server: DockerApi
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = re.sub(r"^/v[\d.]+", "", self.path.split("?")[0])
        if path == "/_ping":
            self.answer("OK")
        elif path == "/version":
            self.answer(
                {"Version": "25.0", "ApiVersion": VERSION, "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"}
            )
        elif path == "/containers/json":
            self.answer(self.server.listed())
        elif match := re.fullmatch(r"/containers/([^/]+)/json", path):
            self.answer(self.server.inspected(match[1]))
        elif path == "/events":
            # No container comes or goes: an answer that does not end.
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.server.ended.wait()
            self.close_connection = True
        else:
            self.send_error(404)

    def answer(self, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Api-Version", VERSION)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass
