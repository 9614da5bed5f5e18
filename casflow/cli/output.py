"""What the command line shows.

Owns JSON for programs, notes for people, and the progress that is shown on a terminal only; tables
and fields are `casflow.cli.table`'s. Invariant: with `--json` standard output holds one JSON
document; what rich draws is made of texts that went through `safe`, and never read as markup.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from casflow.streams import raw_stream, safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from rich.console import Console
    from rich.status import Status

    from casflow.blobs.progress import Watcher

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_KILO = 1000


def show_json(value: Any) -> None:
    """Print a JSON document."""
    click.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def open_console(*, stderr: bool = False, **options: Any) -> Console:
    """Return a console of rich, whose own control sequences reach the terminal.

    What it is to print has to go through `safe`.
    """
    from rich.console import Console

    stream = raw_stream(sys.stderr if stderr else sys.stdout)
    return Console(file=stream, markup=False, highlight=False, **options)


def show_line(line: str, style: str | None = None) -> None:
    """Print a line of data, in a style where there are colours."""
    from rich.text import Text

    open_console().print(Text(safe(line), style=style or ""), soft_wrap=True)


def note(line: str) -> None:
    """Tell a person something that is not data."""
    click.echo(line, err=True)


def size(count: float) -> str:
    """Return bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < _KILO:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KILO
    return f"{count:.1f} TB"


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something takes its time, on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    with open_console(stderr=True).status(safe(what)) as spinner, _shown(partial(_bar, spinner)):
        yield


@contextmanager
def transfers() -> Iterator[None]:
    """Show how far each big upload and download has come, on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    with _shown(partial(_bar, None)):
        yield


def _shown(bar: Watcher) -> AbstractContextManager[None]:
    from casflow.blobs.progress import watched_by

    return watched_by(bar)


@contextmanager
def _bar(spinner: Status | None, what: str, size: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of bytes in the place of the spinner."""
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
    )
    with ExitStack() as afterwards:
        if spinner is not None:
            spinner.stop()
            afterwards.callback(spinner.start)
        console = open_console(stderr=True)
        bar = afterwards.enter_context(progress.Progress(*columns, console=console, transient=True))
        yield partial(bar.advance, bar.add_task(safe(what), total=size))
