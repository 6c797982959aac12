"""What gateways really send, as cases of the corpus: tests/findings/field/recorded/PRODUCT.json.

What a run of the bed saw in front of the server is written so that it stays the same from run to run: ports, request ids,
addresses and times are replaced, tokens are their header and claims. What is redacted cannot be recorded: such headers are left
out, but for Authorization, which the case knows.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from cases import Case

FOLDER = Path(__file__).resolve().parents[2] / "tests/findings/field/recorded"

LEFT_OUT = {"Content-Length", "Accept", "Content-Type", "Accept-Encoding", "Mcp-Session-Id", "Mcp-Protocol-Version", "Authorization"}
"""Of the client, or written by the corpus' runner."""

ALIKE = [
    (re.compile(r"\b127\.0\.0\.1\b"), "203.0.113.7"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "6e9d4c2a-1111-4222-8333-444455556666"),
]

PORTS = {"X-Forwarded-Port"}


def versions(envoy: Path, traefik: Path) -> dict[str, str]:
    """Product by the first word of a set-up: its name and release."""

    def said(pattern: str, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        found = re.search(pattern, done.stdout + done.stderr)
        return found[1] if found else "unknown"

    return {
        "envoy": "Envoy " + said(r"/(\d+\.\d+\.\d+)/", str(envoy), "--version"),
        "apache": "Apache " + said(r"Apache/(\S+)", "apache2", "-v"),
        "haproxy": "HAProxy " + said(r"version (\d+\.\d+\.\d+)", "haproxy", "-v"),
        "nginx": "nginx " + said(r"nginx/(\S+)", "nginx", "-v"),
        "traefik": "Traefik " + said(r"Version:\s+(\S+)", str(traefik), "version"),
        "caddy": "Caddy " + said(r"v?(\d+\.\d+\.\d+)", "caddy", "version"),
    }


def token(text: str, now: int) -> dict[str, Any] | None:
    """Header and claims, with times that count from now; None for what is no JWT."""
    parts = text.split(".")
    if len(parts) != 3:
        return None
    head, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
    for name in ("iat", "nbf", "auth_time"):
        if name in claims:
            claims[name] = "now-60"
    if "exp" in claims:
        claims["exp"] = "now+3600" if claims["exp"] > now + 60 else "now-5"
    claims |= {name: "j-1" for name in ("jti", "at_hash", "nonce") if name in claims}
    return {"header": head, "claims": claims}


def headers(listed: dict[str, list[dict[str, Any]]]) -> dict[str, str | list[str]]:
    found: dict[str, list[str]] = {}
    for line in (line for section in listed.values() for line in section):
        if line["name"] in LEFT_OUT or line["redacted"]:
            continue
        value = line["value"]
        for pattern, instead in ALIKE:
            value = pattern.sub(instead, value)
        found.setdefault(line["name"], []).append("8443" if line["name"] in PORTS and value not in ("443", "80") else value)
    return {name: values[0] if len(values) == 1 else values for name, values in sorted(found.items())}


def case(release: str, tried: Case, sent: str | None, seen: dict[str, dict[str, Any]], now: int) -> dict[str, Any] | None:
    """The corpus' case; None where what came cannot be written down."""
    if tried.cuts or tried.browser or tried.thief or tried.refreshed or tried.proof or not tried.recorded or tried.status != 200:
        return None
    made = token(sent, now) if sent else None
    if sent and not made:
        return None
    steps = []
    for tool in ("authContext", "bearerDecode", "printHeader"):
        found = {each["id"]: each["severity"] for each in seen[tool]["findings"] if each["severity"] != "info"}
        expected = {"raises": sorted(found), "severity": found} if found else {"quiet": True}
        steps.append({"do": "call", "tool": tool, **expected})
    authorization = {"Authorization": f"{tried.scheme} {{t}}"} if made else {}
    return {
        "source": f"recorded: {release}, {tried.setup.partition(' ')[2] or 'as a plain proxy'}",
        "name": tried.name,
        **({"tokens": {"t": made}} if made else {}),
        "headers": {**headers(seen["printHeader"]["headers"]), **authorization},
        "steps": steps,
    }


def write(recorded: dict[str, list[dict[str, Any]]]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for product, cases in recorded.items():
        (FOLDER / f"{product}.json").write_text(json.dumps(cases, indent=2, ensure_ascii=False) + "\n")
