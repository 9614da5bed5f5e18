"""Environments of programs that casflow is used from: Airflow, Prefect, Ray.

Each is made once a machine with uv, and kept; casflow itself is the checkout under test, by
PYTHONPATH. Where one cannot be made its tests skip, or fail when services are required.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_KEPT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "casflow-ci" / "hosts"
WANTED = {
    "airflow": "apache-airflow>=3.1,<3.4",
    "prefect": "prefect>=3.4,<4",
    "ray": "ray[default]>=2.50",
}


@dataclass(frozen=True)
class Host:
    """An environment with one host program; `env` is what its processes get."""

    folder: Path
    env: dict[str, str]

    def run(self, *command: str | Path, timeout: float = 240, **env: str) -> str:
        """Run a program of the environment; return what it printed, fail with all of it."""
        done = self.start(*command, **env)
        try:
            output, _ = done.communicate(timeout=timeout)
        finally:
            done.kill()
        assert done.returncode == 0, output
        return output

    def start(self, *command: str | Path, **env: str) -> subprocess.Popen[str]:
        """Start a program of the environment."""
        program, *rest = command
        return subprocess.Popen(
            [self.folder / "bin" / program, *rest],
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def make(name: str) -> Path:
    """Return the folder of a host's environment, made if it is not there.

    Raises:
        RuntimeError: It cannot be made on this machine.
    """
    folder = _KEPT / name
    done = folder / "casflow-made"
    packages = [WANTED[name], *_dependencies()]
    if done.is_file() and done.read_text() == repr(packages):
        return folder
    uv = shutil.which("uv")
    if uv is None:
        raise RuntimeError("uv is not on PATH")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run(uv, "venv", "-q", "--python", sys.executable, folder)
    _run(uv, "pip", "install", "-q", "--python", folder / "bin" / "python", *packages)
    done.write_text(repr(packages))
    return folder


def _dependencies() -> list[str]:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    found: list[str] = project["dependencies"]
    return found


def _run(*command: str | Path) -> None:
    ran = subprocess.run(command, check=False, capture_output=True, text=True, cwd=_KEPT)
    if ran.returncode:
        raise RuntimeError(f"a host cannot be installed: {ran.stderr.strip()[-500:]}")


def environment(home: Path) -> dict[str, str]:
    """Return what a host's processes get: a home of their own, and casflow from this checkout."""
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    path = f"/usr/local/bin:/usr/bin:/bin:{Path(shutil.which('uv') or '/usr/bin/uv').parent}"
    return kept | {
        "PATH": path,
        "HOME": str(home),
        "PYTHONPATH": str(_ROOT),
        "CASFLOW_HOME": str(home / "casflow"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
