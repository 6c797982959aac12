"""The server behind real identity products: what has to be said about each request, and what must not.

    drive.py --server BINARY --envoy BINARY --traefik BINARY --node BINARY --issuer FILE --folder FOLDER

A line a case, then a line a set-up; exit code 1 when one failed. Streams that have to be cut are tried meanwhile, by threads.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "proxy"))

from cryptography.hazmat.primitives import serialization  # noqa: E402
import httpx  # noqa: E402
import jwt  # noqa: E402

import gateways  # noqa: E402
import record  # noqa: E402
from cases import CASES, RESOURCE, SETUPS, Case, Headers, Setup  # noqa: E402
from gateways import Listener, Listeners, World  # noqa: E402
from http_client import Mismatch, require  # noqa: E402
from issuers import Browser, Key, Provider  # noqa: E402
from network import PUBLIC, Certificates, McpClient, Seen  # noqa: E402
from process import Program, free_port  # noqa: E402
from verifier import Verifier  # noqa: E402

SDKS = {"envoy, an SDK": "envoy", "caddy, an SDK": "caddy"}
"""Gateways that serve metadata, for SDKs that begin with nothing but a URL."""

CUTS = 2
"""Times that a stream is cut before that has to be named."""

SLACK = 2.0
"""Seconds that a cut may come early or late, on a busy machine."""


class Server:
    """The server of one set-up."""

    def __init__(self, binary: Path, setup: Setup | None, jwks: Path) -> None:
        hosts = {"MCP_ALLOWED_HOSTS": f"{PUBLIC},localhost", "MCP_CORS_ORIGINS": "none"}
        origins = {"MCP_ALLOWED_ORIGINS": "https://app.acme.example"}
        own = {name: value.replace("$JWKS", str(jwks)) for name, value in (setup.environment if setup else {}).items()}
        environment = {"LOG_FORMAT": "json", **hosts, **origins, **own}
        self.program = Program("the server", [str(binary), "--port", "0"], environment, trusted=True)
        self.port = int(self.program.line(r'"url":"http://127\.0\.0\.1:(\d+)/mcp"')[1])

    def stop(self) -> None:
        code = self.program.stop()
        require(code == 0, f"the server ended with {code}:\n{self.program.last_lines()}")
        errors = [line for line in self.program.lines if '"level":"ERROR"' in line or "panicked" in line]
        require(not errors, f"the server logged errors: {errors[:3]}")


class Report:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.results: dict[str, Counter[str]] = {}

    def line(self, result: str, setup: str, name: str, detail: str = "") -> None:
        with self.lock:
            self.results.setdefault(setup, Counter())[result] += 1
            print(f"{result:<8}{setup:<33}{name}{': ' if detail else ''}{detail}", flush=True)

    def summary(self) -> int:
        """Of the failed ones."""
        print(f"\n{'set-up':<33}{'ok':>4}{'failed':>8}{'skipped':>9}")
        total: Counter[str] = Counter()
        for setup, counts in self.results.items():
            total += counts
            print(f"{setup:<33}{counts['ok']:>4}{counts['FAILED']:>8}{counts['skipped']:>9}")
        print(f"{'all':<33}{total['ok']:>4}{total['FAILED']:>8}{total['skipped']:>9}")
        return total["FAILED"]


class Bed:
    def __init__(self, world: World, places: Listeners, key: Key, report: Report) -> None:
        self.world, self.places, self.key, self.report = world, places, key, report
        self.setups = {setup.name: setup for setup in SETUPS}
        self.cookies: dict[tuple[str, str], str] = {}
        self.releases = record.versions(world.envoy, world.traefik)
        self.recorded: dict[str, list[dict[str, object]]] = {}

    def cookie(self, setup: str, user: str) -> str:
        """What a browser has after it logged in at the gateway."""
        if (setup, user) not in self.cookies:
            network = self.world.provider.network(**{PUBLIC: ("https", self.places[setup].port)})
            with closing(Browser(network, user)) as browser:
                end, shown = browser.go(f"https://{PUBLIC}/mcp")
                # The server behind answers a GET without session by itself; what matters is that it was reached.
                status = shown.status_code if shown else 0
                require(status in (400, 405, 406), f"the login ended at {end} with {status}: {shown and shown.text[:300]}")
                jar = browser.http.cookies.jar
                mine = [f"{cookie.name}={cookie.value}" for cookie in jar if cookie.domain.lstrip(".") == PUBLIC]
            self.cookies[setup, user] = "; ".join(mine)
        return self.cookies[setup, user]

    def credentials(self, case: Case) -> Headers:
        headers: Headers = []
        token = self.world.provider.tokens[case.token] if case.token else None
        if case.login:
            headers.append(("Cookie", self.cookie(case.setup, case.login)))
        if token:
            headers.append(("Authorization", f"{case.scheme} {token}"))
        if case.proof and token:
            headers.append(("DPoP", self.proof(case.proof, token)))
        return headers

    def proof(self, kind: str, token: str) -> str:
        method = "GET" if kind == "htm" else "POST"
        url = "https://other.acme.example/mcp" if kind == "htu" else RESOURCE
        key = Key() if kind == "key" else self.key
        bound = self.world.provider.tokens["alice"] if kind == "ath" else token
        return key.proof(method, url, bound, age=3600 if kind == "old" else 0)

    def client(self, case: Case, headers: Headers) -> McpClient:
        setup, place = self.setups[case.setup], self.places[case.setup]
        browser = [("Origin", "https://app.acme.example")] if case.browser else []
        certificates = self.world.provider.certificates
        name = f"{case.setup}, {case.name}"
        return McpClient(place.port, certificates, setup.path, [*headers, *case.headers, *browser], name, case.http2)

    def run(self, case: Case) -> None:
        detail = ""
        try:
            if case.token and case.token not in self.world.provider.tokens:
                self.report.line("skipped", case.setup, case.name, f"no token of {case.token}")
                return
            detail = self.tried(case)
            self.report.line("ok", case.setup, case.name, detail)
        except (Mismatch, httpx.HTTPError, OSError, KeyError, ValueError) as error:
            self.report.line("FAILED", case.setup, case.name, str(error) or repr(error))
            if not isinstance(error, Mismatch):
                traceback.print_exc()

    def tried(self, case: Case) -> str:
        with closing(self.client(case, self.credentials(case))) as client:
            try:
                answer = client.initialize()
            except httpx.ConnectError:
                # On a busy machine a gateway lets a handshake go now and then; a client comes again.
                answer = client.initialize()
            status = answer.status_code
            require(status == case.status, f"initialize: {status} instead of {case.status}: {answer.text[:200]!r}")
            if case.status != 200:
                return f"{status} by the gateway"
            if case.cuts:
                lives = [client.stream_until_cut(case.cuts + 30) for _ in range(CUTS)]
                wrong = [life for life in lives if abs(life - case.cuts) > SLACK]
                require(not wrong, f"the streams lived {lives} s")
            if case.refreshed:
                client.look()
                token = self.world.provider.tokens[case.refreshed]
                client.headers = [("Authorization", f"Bearer {token}")]
            seen = client.look()
            if case.thief:
                self.steal(case, client)
            client.delete()
            said = self.judged(case, seen)
            self.keep(case, seen)
            return said

    def keep(self, case: Case, seen: Seen) -> None:
        """What arrived, for the corpus: with the environment of the server that is meant, and no keys of its own."""
        if self.setups[case.setup].environment:
            return
        product = case.setup.split()[0].rstrip(",")
        token = self.world.provider.tokens[case.token] if case.token else None
        made = record.case(self.releases[product], case, token, seen.structured, int(time.time()))
        if made:
            self.recorded.setdefault(product, []).append(made)

    def steal(self, case: Case, owner: McpClient) -> None:
        other = Case(case.setup, case.name, token=case.thief if case.token else None, login=case.thief if case.login else None)
        with closing(self.client(case, self.credentials(other))) as thief:
            thief.session = owner.session
            for answer in (thief.post("ping"), thief.send("GET", accept="text/event-stream"), thief.send("DELETE")):
                require(answer.status_code == 404, f"{case.thief} was answered in {owner.session}: {answer.status_code}")
        require(owner.post("ping").status_code == 200, "the owner's session is gone")

    def judged(self, case: Case, seen: Seen) -> str:
        found = seen.findings()
        worse = {name: each["severity"] for name, each in found.items() if each["severity"] != "info"}
        wanted = {name: severity for name, severity in case.findings.items() if severity != "info"}
        said = {name: f"{each['severity']}: {each['summary']}" for name, each in found.items()}
        infos = [name for name, severity in case.findings.items() if severity == "info"]
        wrong = []
        if worse != wanted:
            unexpected = [f"{name} ({said[name]})" for name in worse if wanted.get(name) != worse[name]]
            absent = [name for name in wanted if name not in found]
            wrong += [f"unexpected {'; '.join(unexpected)}"] if unexpected else []
            wrong += [f"not named: {', '.join(absent)}"] if absent else []
        wrong += [f"not named: {name}" for name in infos if name not in found]
        everything = "\n".join([*seen.texts.values(), *(each["fix"] for each in found.values())])
        wrong += [f"nobody says {words!r}" for words in case.says if words not in everything]
        judgements = "\n".join(f"{each['summary']}\n{each['fix']}" for each in found.values())
        wrong += [f"{words!r} is said: {judgements!r}" for words in case.never if words in judgements]
        public = self.setups[case.setup].public
        shown = seen.texts["authContext"]
        wrong += [f"the public URL is not {public}"] if public and f"- {public} (" not in shown else []
        require(not wrong, "; ".join(wrong))
        return ", ".join(sorted(found))


def start_all(stack: ExitStack, options: argparse.Namespace, report: Report) -> tuple[Bed, list[str]]:
    base: Path = options.folder
    certificates = Certificates.make(base)
    provider = Provider.start(options.node, options.issuer, base, certificates)
    stack.callback(provider.program.stop)
    key = Key()
    provider.issue(key)
    public = jwt.PyJWK(provider.jwks["keys"][0]).key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (base / "issuer.pem").write_bytes(public)
    for file in base.glob("*.pem"):
        file.chmod(0o644)
    places: Listeners = {}
    for setup in [*SETUPS, *(Setup(name) for name in SDKS)]:
        server = Server(options.server.resolve(), setup, provider.jwks_file)
        stack.callback(server.stop)
        places[setup.name] = Listener(free_port(), server.port)
    audiences = {RESOURCE, f"https://{PUBLIC}/tools/mcp", f"https://localhost:{places['caddy, an SDK'].port}/mcp"}
    verifier = Verifier(provider.main, [provider.main, provider.open], audiences)
    stack.callback(verifier.server_close)
    stack.callback(verifier.shutdown)
    world = World(provider, verifier, base, options.envoy, options.traefik)
    missing = []
    for product, begin in gateways.PRODUCTS.items():
        own = {name: place for name, place in places.items() if name.split()[0].rstrip(",") == product}
        try:
            begin(stack, world, own)
        except (Mismatch, OSError) as error:
            missing.append(product)
            report.line("FAILED", product, "starts", str(error)[-2000:])
    return Bed(world, places, key, report), missing


def sdk(bed: Bed, report: Report, setup: str, language: str, command: list[str]) -> None:
    """A released SDK through the whole flow, with nothing but the URL."""
    url = f"https://localhost:{bed.places[setup].port}/mcp"
    authority = str(bed.world.provider.certificates.authority)
    environment = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": authority, "NODE_EXTRA_CA_CERTS": authority}
    environment |= {"NO_PROXY": "*", "no_proxy": "*"}
    try:
        done = subprocess.run([*command, url], env=environment, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        report.line("FAILED", setup, f"{language}: the whole flow", "not within 60 s")
        return
    lines = done.stdout.strip().split("\n")
    ok = done.returncode == 0
    report.line("ok" if ok else "FAILED", setup, f"{language}: the whole flow", lines[-1] if ok else done.stdout + done.stderr)


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("server", "envoy", "traefik", "node", "issuer", "folder"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--only", default="", help="set-ups whose name begins so")
    parser.add_argument("--record", action="store_true", help="write what arrived into the corpus")
    options = parser.parse_args()
    # So that `finally` is reached, and nothing keeps running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report, began = Report(), time.monotonic()
    with ExitStack() as stack:
        bed, missing = start_all(stack, options, report)
        mine = [case for case in CASES if case.setup.startswith(options.only) and case.setup.split()[0].rstrip(",") not in missing]
        cutting = [threading.Thread(target=bed.run, args=(case,), daemon=True) for case in mine if case.cuts]
        for thread in cutting:
            thread.start()
        for case in mine:
            if not case.cuts:
                bed.run(case)
        here = Path(__file__).parent
        for setup, product in SDKS.items():
            if product in missing or not setup.startswith(options.only):
                continue
            sdk(bed, report, setup, "Python", [sys.executable, str(here / "flow.py")])
            sdk(bed, report, setup, "TypeScript", [str(options.node), str(options.issuer.with_name("flow.mjs"))])
        for thread in cutting:
            thread.join()
        print("\n" + ", ".join(bed.releases.values()))
        if options.record:
            record.write(bed.recorded)
    failed = report.summary()
    print(f"after {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
