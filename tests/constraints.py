"""The exact versions of the development environment, in pyproject.toml.

`uv run python -m tests.constraints` takes the newest releases that fit together into
`[tool.uv] constraint-dependencies`; with `differences FILE` it prints how an environment, as
`uv pip freeze` lists it, differs from them. Owns that list. Invariant: it names each package of the
environment once for each platform, with an exact version, and no host.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.services.presence import program

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
KEY = "constraint-dependencies"
LIST = re.compile(r"(?<=^constraint-dependencies = \[\n).*?(?=^\]$)", re.MULTILINE | re.DOTALL)
_WHAT = ("--all-extras", "--no-emit-project", "--no-hashes", "--no-annotate", "--no-header")


def newest() -> list[str]:
    """Return the newest releases that the project's bounds allow, as exact requirements."""
    with tempfile.TemporaryDirectory(prefix="casflow-constraints-") as folder:
        Path(folder, "pyproject.toml").write_text(LIST.sub("", PYPROJECT.read_text(), count=1))
        command = [program("uv"), "export", "-q", *_WHAT]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()


def write(requirements: list[str]) -> None:
    """Write the list into pyproject.toml."""
    lines = "".join(f'    "{each.strip()}",\n' for each in requirements)
    PYPROJECT.write_text(LIST.sub(lambda _: lines, PYPROJECT.read_text(), count=1))


def differences(frozen: list[str]) -> list[str]:
    """Return how an environment differs from the list: names with both versions."""
    exact = tomllib.loads(PYPROJECT.read_text())["tool"]["uv"][KEY]
    known: dict[str, set[str]] = {}
    for each in exact:
        name, _, version = each.partition(" ;")[0].partition("==")
        known.setdefault(name, set()).add(version)
    found = dict(each.split("==") for each in frozen if "==" in each)
    return [
        f"{name} {version}, not {' or '.join(sorted(known[name]))}"
        for name, version in sorted(found.items())
        if version not in known.get(name, {version})
    ]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(*differences(Path(sys.argv[-1]).read_text().splitlines()), sep="\n")
    else:
        write(newest())
