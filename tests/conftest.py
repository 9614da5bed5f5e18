"""What every test can ask for: a home of casflow, and the servers of `tests/services/`.

Owns which tests a run takes. All of them, two and more at a time, with `--full`; without it those
that are not slow. Invariant: a run says in its last lines what it left out and how to run it.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from casflow import redaction
from tests.examples import FULL

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["tests.home", "tests.services.fixtures"]

_SLOW = pytest.StashKey[int]()
_WANTED = re.compile(r"(?:Skipped: )?(.+?) is not here: (.+)", re.DOTALL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--full`."""
    parser.addoption("--full", action="store_true", help="take the slow tests too")


def pytest_configure(config: pytest.Config) -> None:
    """Let modules and further processes know that all is wanted, and that SIGINT ends them.

    A shell lets what it starts in the background ignore SIGINT, and every child inherits that.
    Tests start hundreds of processes: without byte code each of them compiles every module again.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if config.option.full:
        os.environ[FULL] = "1"
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Start no workers for single files and tests: most are done before a worker stands."""
    given = [each for each in config.invocation_params.args if Path(each.split("::")[0]).exists()]
    return 0 if given else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the slow tests, unless all are wanted or some are named."""
    config.stash[_SLOW] = 0
    if config.option.full or config.option.markexpr or any("::" in each for each in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
        config.stash[_SLOW] = len(slow)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that started this worker how many tests were left out."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["slow"] = session.config.stash.get(_SLOW, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Take over what a worker left out; each of them collects all tests."""
    config, output = node.config, getattr(node, "workeroutput", {})  # type: ignore[attr-defined]
    config.stash[_SLOW] = max(config.stash.get(_SLOW, 0), output.get("slow", 0))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was left out, and how to run it."""
    lines = list(_left_out(terminalreporter, config.stash.get(_SLOW, 0)))
    if lines:
        terminalreporter.section("left out")
        for line in lines:
            terminalreporter.write_line(line)


def _left_out(terminalreporter: pytest.TerminalReporter, slow: int) -> Iterator[str]:
    if slow:
        yield f"{slow} slow tests: uv run pytest --full"
    wanted: Counter[tuple[str, str]] = Counter()
    others: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        match = _WANTED.fullmatch(reason)
        if match:
            wanted[match[1], match[2]] += 1
        else:
            others[reason.removeprefix("Skipped: ")] += 1
    for (service, why), count in wanted.most_common():
        yield f"{count} tests of {service}: {why}"
    for reason, count in others.most_common():
        yield f"{count} tests: {reason}"
    if wanted:
        yield "as root on a Debian, bash .ci/run installs all of it and runs every test"


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redact only what a test itself made known: else a word of one is hidden in another."""
    monkeypatch.setattr(redaction, "_known", redaction.KnownSecrets())
