"""`casflow demo`: the main job, done before your eyes, in a folder that is thrown away.

Owns a small story told by real processes: a flow is registered, registered again, run cold and
run warm; a project is pushed, edited, pushed again, and run with its store out of reach.
Invariant: every line that it prints was checked; what is not so ends it with an error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from casflow.cli.output import size
from casflow.cli.table import show_fields
from casflow.errors import CasflowError

SCRIPT = Path(__file__).with_name("orders.py")
_TIMEOUT = 120.0  # seconds that one step may take
_MODULES = 40  # of the project


@click.command()
def demo() -> None:
    """Register a flow, run it cold and warm; push a project, run it without its store."""
    with tempfile.TemporaryDirectory(prefix="casflow-demo-") as home:
        _explain(Path(home))


def _explain(home: Path) -> None:
    click.echo("1. A flow is registered: hashed, stored once, and recorded.")
    (first,), took = _casflow(home, "register", "--path", str(SCRIPT))
    _check(first["status"] == "registered", "the first registration made no version", first)
    _lines(first, took)

    click.echo("\n2. Another process registers the same flow: nothing is written.")
    (again,), took = _casflow(home, "register", "--path", str(SCRIPT))
    _check(again["status"] == "unchanged", "the second registration was not unchanged", again)
    _check(again["digest"] == first["digest"], "the same flow has two digests", again)
    _check(again["uploaded_bytes"] == 0, "an unchanged flow was uploaded", again)
    _lines(again, took)

    click.echo("\n3. An agent runs it cold: the cache is empty, so it downloads the blob.")
    cold = _run(home, first["flow"])
    _check(cold["cache"] == "miss", "the first run found a warm cache", cold)
    _check(cold["downloaded_bytes"] > 0, "the first run downloaded nothing", cold)

    click.echo("\n4. An agent runs it warm: verified bytes from the cache, no download.")
    warm = _run(home, first["flow"])
    _check(warm["cache"] == "hit", "the second run missed the cache", warm)
    _check(warm["downloaded_bytes"] == 0, "the second run downloaded", warm)

    click.echo(
        "\n5. What is stored: one reference, the flow's blob and its source map's, verified."
    )
    _casflow(home, "verify")
    _show_store(home)
    click.echo(f"\nload: cold {_ms(cold)}, warm {_ms(warm)}")
    _tell_of_a_project(home)


def _tell_of_a_project(home: Path) -> None:
    project, store = home / "etl", home / "store"
    project.mkdir()
    for number in range(_MODULES):
        rows = ", ".join(map(str, range(number, number + 200)))
        (project / f"step_{number}.py").write_text(f"ROWS = [{rows}]\n")
    (project / "__main__.py").write_text('import step_7\nprint("etl read", len(step_7.ROWS))\n')
    name = ("--store", str(store))

    click.echo(f"\n6. A project of {_MODULES + 1} files is pushed; no flow is needed for that.")
    first, _ = _casflow(home, "push", str(project), *name)
    _check(first["version"] == 1, "the first push made no version", first)
    _show_push(first)

    click.echo("\n7. One file is edited: its content and a new listing are sent.")
    (project / "step_7.py").write_text("ROWS = [1, 2, 3]\n")
    second, _ = _casflow(home, "push", str(project), *name)
    _check(second["version"] == 2, "the second push made no version", second)  # noqa: PLR2004
    _check(second["uploaded_bytes"] < first["uploaded_bytes"] / 4, "too much was sent", second)
    _show_push(second)

    click.echo("\n8. It runs from a checkout; then the store is moved away, and it runs again.")
    ref = f"etl@{second['digest']}"
    command = ("exec", ref, *name, "--", sys.executable, "__main__.py")
    _, cold = _casflow(home, *command, reports=False)
    store.rename(home / "elsewhere")
    _, warm = _casflow(home, *command, reports=False)
    show_fields(
        {"   with the store": f"{cold * 1000:.0f} ms", "   without": f"{warm * 1000:.0f} ms"}
    )


def _show_push(pushed: dict[str, Any]) -> None:
    show_fields(
        {
            "   version": f"{pushed['name']}@{pushed['version']}",
            "   digest": pushed["digest"],
            "   uploaded": size(pushed["uploaded_bytes"]),
        }
    )


def _run(home: Path, flow: str) -> dict[str, Any]:
    run, _ = _casflow(home, "runs", "create", flow, "-P", "top=2")
    _casflow(home, "agent", "start", "--once", reports=False)
    run, _ = _casflow(home, "runs", "show", str(run["run"]))
    _check(run["state"] == "Success", "the run did not succeed", run)
    outcome: dict[str, Any] = run["outcome"]
    show_fields(
        {
            "   state": run["state"],
            "   cache": outcome["cache"],
            "   downloaded": size(outcome["downloaded_bytes"]),
            "   loaded in": _ms(outcome),
            "   ran in": f"{outcome['run_seconds'] * 1000:.1f} ms",
        }
    )
    return outcome


def _casflow(home: Path, *arguments: str, reports: bool = True) -> tuple[Any, float]:
    """Run the command line in a process of its own; return its JSON and its seconds."""
    command = [sys.executable, "-m", "casflow", *arguments, *(["--json"] if reports else [])]
    started = time.perf_counter()
    done = subprocess.run(
        command,
        env={**_clean_environment(), "CASFLOW_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    took = time.perf_counter() - started
    _check(done.returncode == 0, f"casflow {' '.join(arguments)} failed", done.stderr.strip())
    return json.loads(done.stdout) if reports else None, took


def _clean_environment() -> dict[str, str]:
    """Return this environment without the user's own settings of casflow."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CASFLOW_")}


def _check(holds: bool, what: str, seen: object) -> None:
    if not holds:
        raise CasflowError(what, where=seen)


def _lines(registration: dict[str, Any], took: float) -> None:
    show_fields(
        {
            "   flow": registration["flow"],
            "   status": registration["status"],
            "   digest": registration["digest"],
            "   uploaded": size(registration["uploaded_bytes"]),
            "   process": f"{took * 1000:.0f} ms",
        }
    )


def _show_store(home: Path) -> None:
    flows = home / "flows"
    files = sorted(path for path in flows.rglob("*") if path.is_file())
    blobs = [path for path in files if ".casflow/blobs" in path.as_posix()]
    references = [path for path in files if ".casflow" not in path.as_posix()]
    _check(len(references) == 1, "there is not one reference", references)
    _check(len(blobs) <= 2, "there are too many blobs", blobs)  # noqa: PLR2004 - flow, source map
    for path in [*references, *blobs]:
        click.echo(f"   {path.stat().st_size:>6} B  flows/{path.relative_to(flows).as_posix()}")


def _ms(outcome: dict[str, Any]) -> str:
    return f"{outcome['load_seconds'] * 1000:.1f} ms"
