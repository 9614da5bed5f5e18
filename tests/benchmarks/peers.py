"""Other programs to measure against, each in an environment of its own.

Owns where those environments are, outside of the clone, and how they are made. Invariant: a peer
that cannot be had raises `NotToBeHadError` with the reason, and never fails a benchmark.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import ExitStack

    from tests.services.process import Server

PREFECT = ("prefect==1.4.1", "setuptools<81", "pendulum<3", "urllib3<2")
PREFECT_PYTHONS = ("3.10", "3.9")


class NotToBeHadError(Exception):
    """This peer or server cannot be installed or started here."""


def environment(name: str, requirements: Sequence[str], pythons: Sequence[str]) -> Path:
    """Return the interpreter of an environment with these packages; make it when it is not there.

    Raises:
        NotToBeHadError: No such Python is here, or the packages cannot be installed.
    """
    folder = _cache() / name
    python, done = folder / "bin" / "python", folder / "requirements.json"
    wanted = json.dumps(list(requirements))
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    _run("uv", "venv", "-q", "--clear", "--python", _interpreter(pythons), str(folder))
    _run("uv", "pip", "install", "-q", "--python", str(python), *requirements)
    done.write_text(wanted, encoding="utf-8")
    return python


def prefect() -> Path:
    """Return the interpreter of an environment with Prefect 1.4.1.

    Raises:
        NotToBeHadError: It cannot be installed here.
    """
    return environment("prefect-1.4.1", PREFECT, PREFECT_PYTHONS)


def prefect_run(folder: Path) -> list[str | Path]:
    """Store a flow as Prefect does; return the words that run it, but the path that it marks.

    Raises:
        NotToBeHadError: Prefect cannot be installed here.
    """
    words = [prefect(), "-W", "ignore", Path(__file__).with_name("prefect_run_peer.py")]
    said = _run(*map(str, words), "store", str(folder))
    return [*words, "run", folder, said.split()[-1]]


def serve(stack: ExitStack, server: Callable[[], Server]) -> Any:
    """Start a server of the tests for as long as the stack stands.

    Raises:
        NotToBeHadError: It is not installed, or does not start here.
    """
    try:
        return stack.enter_context(server())
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[-1]
        raise NotToBeHadError(reason) from error


def or_say(measure: Callable[[], None]) -> None:
    """Run a benchmark; when what it cannot do without is missing, say so and end well."""
    try:
        measure()
    except NotToBeHadError as error:
        print(f"not to be had here: {error}")


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "casflow-benchmarks"


def _interpreter(versions: Sequence[str]) -> str:
    for version in versions:
        for path in _candidates(version):
            if _is_python(path, version):
                return path
    raise NotToBeHadError(f"no Python {' or '.join(versions)} here")


def _candidates(version: str) -> Iterator[str]:
    if (found := shutil.which(f"python{version}")) is not None:
        yield found
    if shutil.which("pyenv") is not None:
        root = Path(_run("pyenv", "root").strip())
        yield from map(str, sorted(root.glob(f"versions/{version}.*/bin/python"), reverse=True))


def _is_python(path: str, version: str) -> bool:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        return _run(path, "-c", code).strip() == version
    except NotToBeHadError:
        return False


def _run(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=600, check=False, env=_environment()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotToBeHadError(str(error)) from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise NotToBeHadError(f"{command[0]} failed: {lines[0]}")
    return done.stdout


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    return {**kept, "UV_PYTHON_DOWNLOADS": "never"}


class Peer:
    """A process of a peer that does what it is asked, one JSON line for another.

    Args:
        python: Its interpreter.
        script: What it runs: reads a JSON list a line, answers with a JSON value a line.
        environment: Further environment variables.
        arguments: What the script is handed.
    """

    def __init__(
        self, python: Path, script: Path, environment: dict[str, str], *arguments: str
    ) -> None:
        try:
            self._process = subprocess.Popen(
                [str(python), "-W", "ignore", str(script), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**_environment(), **environment},
            )
        except OSError as error:
            raise NotToBeHadError(str(error)) from error

    def ask(self, *request: Any) -> Any:
        """Return the answer to a request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise NotToBeHadError("the peer ended") from error
        answer = self._process.stdout.readline()
        if not answer:
            raise NotToBeHadError("the peer ended")
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
