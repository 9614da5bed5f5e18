"""Environments of programs that casflow is used from: Airflow, Prefect, Ray, pandas.

Each is made once a machine with uv, and kept; casflow itself is the checkout under test, by a
folder on PYTHONPATH that looks like an installation. Older releases get the dependencies of their
time. Where one cannot be made its tests skip, or fail when services are required.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_KEPT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "casflow-ci" / "hosts"
_COMMAND = "#!/usr/bin/env python3\nimport sys\nfrom casflow.cli import main\nsys.exit(main())\n"
_OLD = ("--exclude-newer", "2026-02-01")
_S3 = ("s3fs>=2026.1", "aiobotocore>=2.20")
WANTED = {
    "airflow": ("apache-airflow>=3.2,<3.4", *_S3),
    "airflow-git": ("apache-airflow>=3.2,<3.4", "apache-airflow-providers-git"),
    # Airflow 3.0 holds SQLAlchemy below 2, which only casflow's registry needs.
    "airflow-3.0": ("apache-airflow>=3.0,<3.1", *_OLD, "--override", "sqlalchemy<2"),
    "airflow-3.1": ("apache-airflow>=3.1,<3.2", *_OLD),
    "prefect": ("prefect>=3.9,<4", *_S3),
    "prefect-3.4": ("prefect>=3.4,<3.5", *_OLD),
    "ray": ("ray[default]>=2.50",),
    "pandas": ("pandas", "pyarrow"),
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

    def run_shell(self, script: str, timeout: float = 240, **env: str) -> str:
        """Run a script of bash with the environment active; as `run`."""
        return self.run("/bin/bash", "-c", script, timeout=timeout, **env)

    def start(self, *command: str | Path, **env: str) -> subprocess.Popen[str]:
        """Start a program of the environment, which is active."""
        program, *rest = command
        folder = self.folder / "bin"
        active = {"VIRTUAL_ENV": str(self.folder), "PATH": f"{folder}:{self.env['PATH']}"}
        return subprocess.Popen(
            [folder / program, *rest],
            env=self.env | active | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def make(name: str) -> Path:
    """Return the folder of a host's environment, made if it is not there.

    Raises:
        RuntimeError: It cannot be made on this machine.
    """
    folder = _KEPT / name
    done = folder / "casflow-made"
    packages = [*_with_files(WANTED[name]), *_dependencies()]
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


def _with_files(wanted: tuple[str, ...]) -> list[str]:
    """Return what uv is given; an override has to lie in a file."""
    given = list(wanted)
    if "--override" in given:
        place = given.index("--override") + 1
        _KEPT.mkdir(parents=True, exist_ok=True)
        file = _KEPT / f"{wanted[0].partition('>')[0]}.override"
        file.write_text(given[place])
        given[place] = str(file)
    return given


def _dependencies() -> list[str]:
    found: list[str] = _project()["dependencies"]
    return found


def _project() -> dict[str, Any]:
    loaded: dict[str, Any] = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    return loaded


def _run(*command: str | Path) -> None:
    ran = subprocess.run(command, check=False, capture_output=True, text=True, cwd=_KEPT)
    if ran.returncode:
        raise RuntimeError(f"a host cannot be installed: {ran.stderr.strip()[-500:]}")


def environment(home: Path) -> dict[str, str]:
    """Return what a host's processes get: a home of their own, and casflow from this checkout."""
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    path = f"/usr/local/bin:/usr/bin:/bin:{Path(shutil.which('uv') or '/usr/bin/uv').parent}"
    packages = installed(home / "site-packages")
    return kept | {
        "PATH": f"{packages / 'bin'}:{path}",
        "HOME": str(home),
        "PYTHONPATH": str(packages),
        "CASFLOW_HOME": str(home / "casflow"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def installed(folder: Path) -> Path:
    """Make a folder in which this checkout stands as if it were installed.

    Prefect takes every module that does not lie in a folder of that name for one of the user's,
    and fsspec finds casflow by its entry point.
    """
    about = folder / f"casflow-{_project()['version']}.dist-info"
    about.mkdir(parents=True)
    (folder / "casflow").symlink_to(_ROOT / "casflow")
    (folder / "bin").mkdir()
    (folder / "bin" / "casflow").write_text(_COMMAND)
    (folder / "bin" / "casflow").chmod(0o755)
    (about / "METADATA").write_text(f"Name: casflow\nVersion: {_project()['version']}\n")
    groups = {**_project()["entry-points"], "console_scripts": _project()["scripts"]}
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in points.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines))
    return folder
