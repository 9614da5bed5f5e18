"""Kill loops: run a Python program again and again, killed one effect later each time.

Invariant: a loop ends only when the program has run to its own end undisturbed, so every effect
that it has was killed at once; a program that fails for another reason fails the test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNNER = Path(__file__).with_name("failing_child.py")
When = Literal["before", "after", "torn"]


@dataclass(frozen=True)
class Run:
    """One run of the program.

    Attributes:
        n: The effect at which it was to be killed.
        when: Before the effect, after it, or in the middle of a write.
        killed: Whether it was; if not, it has run to its own end.
        stdout: What it printed.
    """

    n: int
    when: str
    killed: bool
    stdout: str


def kill_loop(
    make_command: Callable[[int, str], list[str]],
    when: When,
    env: dict[str, str] | None = None,
    limit: int = 500,
) -> Iterator[Run]:
    """Run the command of n = 1, 2, 3, ... until one is not killed; yield each run.

    The command's own fail point, such as a `FaultyStore` with `action="kill"`, does the killing.
    The caller looks at what each run has left, and puts it back if the next run needs it.
    """
    for n in range(1, limit + 1):
        run = _run(n, when, make_command(n, when), env)
        yield run
        if not run.killed:
            return
    raise AssertionError(f"still killed at effect {limit}")


def file_kill_loop(
    folder: Path,
    program: list[str],
    when: When,
    env: dict[str, str] | None = None,
    limit: int = 500,
) -> Iterator[Run]:
    """Run `[SCRIPT | -m MODULE | -c CODE, ...]`, killed at each of its effects in a folder."""

    def command(n: int, when: str) -> list[str]:
        return [sys.executable, str(RUNNER), str(n), when, str(folder), *program]

    return kill_loop(command, when, env, limit)


def _run(n: int, when: str, command: list[str], env: dict[str, str] | None) -> Run:
    environ = {**os.environ, **(env or {}), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environ, check=False
    )
    killed = done.returncode == -signal.SIGKILL
    assert killed or done.returncode == 0, f"effect {n}, {when}: {done.stderr}"
    return Run(n, when, killed, done.stdout)
