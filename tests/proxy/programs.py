"""The programs of the test: server, auth stub and proxies.

The proxies are set up by what users are given: docker-compose.yml's labels, and the configurations of docs/proxies.md.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from docker_api import Container, DockerApi, compose_labels
from http_client import require
from process import Program, folder, free_port, start

ROOT = Path(__file__).resolve().parents[2]
HOST = "mcp-echo-stateful.localhost"
"""The host of docker-compose.yml's labels, with its default for BASE_DOMAIN."""

PUBLIC = "mcp-echo-stateful.example.com"
"""The host of the configurations in docs/proxies.md."""

PAGE = "docs/proxies.md"


class Server:
    """The server, as docs/proxies.md starts it on the same machine as the proxy."""

    def __init__(self, binary: Path, port: int = 0) -> None:
        self.binary = binary
        self.lines: list[str] = []
        self.start(port)

    def start(self, port: int) -> None:
        environment = {"LOG_FORMAT": "json", **page_environment()}
        self.program = Program("the server", [str(self.binary), "--port", str(port)], environment, trusted=True)
        self.port = int(self.program.line(r'"url":"http://127\.0\.0\.1:(\d+)/mcp"')[1])

    def stop(self) -> None:
        code = self.program.stop()
        self.lines += self.program.lines
        require(code == 0, f"the server ended with {code}:\n{self.program.last_lines()}")
        errors = [line for line in self.program.lines if '"level":"ERROR"' in line or "panicked" in line]
        require(not errors, f"the server logged errors: {errors[:3]}")

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in [*self.lines, *self.program.lines] if line.startswith("{")]


class AuthStub:
    def __init__(self) -> None:
        self.program = Program(
            "the auth stub",
            [sys.executable, str(Path(__file__).with_name("auth_stub.py")), "--port", "0"],
            trusted=True,
        )
        self.port = int(self.program.line(r"listening on http://127\.0\.0\.1:(\d+)")[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.program.stop()


def traefik(
    stack: ExitStack,
    binary: Path,
    servers: list[Server],
    stub: AuthStub,
    uncomment: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
) -> int:
    """Traefik with the labels of docker-compose.yml, also commented ones that have a part `uncomment`; its port."""
    settings = {"MCP_AUTH_ADDRESS": f"http://127.0.0.1:{stub.port}/verify", "MCP_DISCOVERY_SERVICE": "auth@docker"}
    file, service = ROOT / "docker-compose.yml", "mcp-echo-stateful"
    containers = []
    for n, server in enumerate(servers, 1):
        labels = compose_labels(file, service, {**settings, "MCP_ECHO_PORT": str(server.port)}, uncomment)
        containers.append(Container(f"{service}-{n}", "127.0.0.1", labels))
    auth = {"traefik.enable": "true", "traefik.http.services.auth.loadbalancer.server.port": str(stub.port)}
    containers.append(Container("auth", "127.0.0.1", auth))
    docker = DockerApi(containers, labels["traefik.docker.network"])
    stack.callback(docker.end)
    port = free_port()
    command = [
        str(binary),
        f"--entrypoints.web.address=127.0.0.1:{port}",
        f"--providers.docker.endpoint={docker.endpoint}",
        "--providers.docker.exposedbydefault=false",
        # Nothing leaves this machine.
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        *options,
    ]
    start(stack, Program("Traefik", command), port)
    return port


def nginx(stack: ExitStack, server: Server, stub: AuthStub, base: Path) -> int:
    """nginx with the configuration of docs/proxies.md."""
    port = free_port()
    prefix = folder(base, "nginx")
    site = page_block("## nginx", "nginx", {"listen 80;": f"listen 127.0.0.1:{port};"}, server, stub)
    (prefix / "site.conf").write_text(site)
    paths = "".join(
        f"{kind}_temp_path {prefix}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    http = f"http {{\naccess_log off;\n{paths}include {prefix}/site.conf;\n}}\n"
    main = f"daemon off;\npid {prefix}/pid;\nerror_log stderr;\nevents {{}}\n{http}"
    (prefix / "nginx.conf").write_text(main)
    # Before it has read the configuration it logs to a file of the distribution, unless told not to.
    start(
        stack, Program("nginx", ["nginx", "-e", "stderr", "-p", str(prefix), "-c", "nginx.conf"]), port, signal.SIGQUIT
    )
    return port


def caddy(stack: ExitStack, server: Server, stub: AuthStub, base: Path) -> int:
    """Caddy with the configuration of docs/proxies.md."""
    port = free_port()
    home = folder(base, "caddy")
    site = page_block(
        "## Caddy",
        "caddyfile",
        {f"http://{PUBLIC} {{": f"http://{PUBLIC}:{port} {{\n\tbind 127.0.0.1"},
        server,
        stub,
    )
    (home / "Caddyfile").write_text("{\n\tadmin off\n}\n" + site)
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(home / "Caddyfile")]
    start(stack, Program("Caddy", command, {"HOME": str(home)}), port)
    return port


def page_block(heading: str, language: str, changes: dict[str, str], server: Server, stub: AuthStub) -> str:
    """The block below a heading of the page, with this test's addresses in the place of the reader's."""
    section = (ROOT / PAGE).read_text().split(f"\n{heading}\n")[1]
    match = re.search(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    require(match, f"{PAGE} has no block in {language} below {heading!r}")
    block: str = match[1]  # type: ignore[index]
    changes = {**changes, "127.0.0.1:3000": f"127.0.0.1:{server.port}", "127.0.0.1:8000": f"127.0.0.1:{stub.port}"}
    for old, new in changes.items():
        require(old in block, f"the block in {language} of {PAGE} has no {old!r}")
        block = block.replace(old, new)
    return block


def page_environment() -> dict[str, str]:
    """The variables that the page starts the server with."""
    command = re.compile(r"^((?:\w+=\S+ )+)mcp-echo-streamablehttp-server-stateful$", re.MULTILINE)
    match = command.search((ROOT / PAGE).read_text())
    require(match, f"{PAGE} does not start the server")
    return dict(setting.split("=", 1) for setting in match[1].split())  # type: ignore[index]
