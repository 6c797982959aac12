"""What is measured: built with the release profile, unless the caller names binaries of their own."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

NAME = "mcp-echo-streamablehttp-server-stateful"
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Binaries:
    """Paths. Only the server is the product; the others are examples of the package (see Cargo.toml)."""

    server: str
    floor: str
    crowd: str | None = None
    aging: str | None = None


def cargo(*arguments):
    """Builds; executables by target."""
    command = ["cargo", "build", "--release", "--locked", "--message-format=json-render-diagnostics", *arguments]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = map(json.loads, built.stdout.splitlines())
    return {message["target"]["name"]: message["executable"] for message in messages if message.get("executable")}


def build(server, floor, examples):
    """Builds what is not given, and these examples."""
    # Apart: together, cargo would build the product with the features that its tests turn on.
    server = server or cargo("--bin", NAME)[NAME]
    wanted = [name for name in examples if name != "floor" or not floor]
    made = cargo(*(f"--example={name}" for name in wanted)) if wanted else {}
    made.setdefault("floor", floor)
    return Binaries(str(Path(server).resolve()), **{name: str(Path(made[name]).resolve()) for name in examples})
