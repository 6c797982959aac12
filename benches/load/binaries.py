"""What is measured: built with the release profile, unless the caller names binaries of their own."""

import json
import re
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
    """Builds; what was made, by target: the executable, or the library's file."""
    command = ["cargo", "build", "--release", "--locked", "--message-format=json-render-diagnostics", *arguments]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    made = {}
    for message in map(json.loads, built.stdout.splitlines()):
        libraries = [file for file in message.get("filenames", []) if file.endswith(".rlib")]
        if file := message.get("executable") or next(iter(libraries), None):
            made[message["target"]["name"]] = file
    return made


def floor_with(libraries):
    """The floor, linked with the libraries that the product is linked with. As an example cargo would link it with all that the
    tests depend on: minutes more, and with the features that they turn on."""
    source = ROOT / "benches" / "load" / "floor.rs"
    folder = Path(libraries["tokio"]).parent
    used = sorted(set(re.findall(r"\b(\w+)::", source.read_text())) & libraries.keys())
    externs = [f"--extern={name}={libraries[name]}" for name in used]
    profile = ["-Copt-level=3", "-Ccodegen-units=1", "-Clto=fat", "-Cstrip=symbols"]
    command = ["rustc", "--edition=2024", "--crate-name=floor", *profile, f"-Ldependency={folder}", *externs]
    made = folder.parent / "floor"
    subprocess.run([*command, f"-o{made}", str(source)], cwd=ROOT, check=True)
    return str(made)


def build(server, floor, examples):
    """Builds what is not given, and these examples."""
    # Apart from the examples: together, cargo would build the product with the features that its tests turn on.
    made = cargo("--bin", NAME) if not (server and floor) else {}
    server, floor = server or made[NAME], floor or floor_with(made)
    wanted = [f"--example={name}" for name in examples]
    made = {**(cargo(*wanted) if wanted else {}), "floor": floor}
    return Binaries(str(Path(server).resolve()), **{name: str(Path(made[name]).resolve()) for name in ["floor", *examples]})
