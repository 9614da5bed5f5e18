"""The one rule by which every command shows rows and fields to people.

Owns what a cell looks like and what a terminal has room for. Invariant: from 60 columns on a row is
one line; columns are left out in the order that they declare, and no digest, time, number or name
that a command takes back is ever cut. On a narrower terminal each field is a line, and without a
terminal every column is there, uncut, with absolute times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click

from casflow.cli.output import open_console
from casflow.digests import PREFIX
from casflow.streams import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.text import Text

NARROWEST = 60  # columns of a terminal on which a row still is a line
SHORT = 12  # hexadecimal digits of a digest that people are shown
_LEAST = 16  # columns that a text is not cut below
_GAP = "  "
_DIGEST = re.compile(rf"{PREFIX}[0-9a-f]{{64}}")
_ISO = "casflow.iso"
_UNITS = ((60, "s"), (60, "min"), (24, "h"), (60, "day"), (12, "month"))
_DAYS_OF_MONTH = 30
_NOW = 5  # seconds that are not worth a number


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its heading.
        drop: When it is left out where there is no room: the highest first, 0 never.
        whole: Whether its text is never cut, since commands take it back.
        tail: Whether the end of a text that is too long is shown, as of a path.
    """

    name: str
    drop: int = 0
    whole: bool = False
    tail: bool = False


def _keep_iso(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_ISO] = value


iso_option = click.option(
    "--iso",
    is_flag=True,
    expose_value=False,
    callback=_keep_iso,
    help="Show times as 2026-01-31T16:59:03+00:00.",
)


# ---- words ------------------------------------------------------------------------------------


def short(digest: str) -> str:
    """Return the first digits of a digest, which every command takes for it."""
    return digest.removeprefix(PREFIX)[:SHORT]


def shorten(digests: Iterable[str]) -> dict[str, str]:
    """Return what each of several digests is shown as: 12 digits, or more to tell them apart."""
    full = sorted(set(digests))
    length = len(PREFIX) + SHORT
    for one, other in pairwise(full):
        length = max(length, _common(one, other) + 1)
    return {each: each[len(PREFIX) : length] for each in full}


def _common(one: str, other: str) -> int:
    return next(n for n in range(len(one), -1, -1) if one[:n] == other[:n])


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return a number of things, such as `1 reference` or `2 entries`."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Return how long ago a moment is, such as `3 min ago`, or `in 2 h`."""
    passed = ((now or datetime.now(UTC)) - moment).total_seconds()
    if abs(passed) < _NOW:
        return "just now"
    count, unit = abs(passed), "year"
    for most, name in _UNITS:
        if int(count) < most:
            unit = name
            break
        count /= _DAYS_OF_MONTH if name == "day" else most
    number = int(count)
    unit = unit if unit in ("s", "min", "h") or number == 1 else f"{unit}s"
    return f"{number} {unit} ago" if passed > 0 else f"in {number} {unit}"


def _wants_iso() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_ISO))


def _cell(value: Any, digests: Mapping[str, str], *, iso: bool) -> str:
    """Return what one value is shown as, in one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds") if iso else ago(value)
    if isinstance(value, list | tuple):
        return ", ".join(_cell(each, digests, iso=iso) for each in value)
    text = digests.get(value, value) if isinstance(value, str) else str(value)
    return " ".join(safe(text).splitlines()).replace("\t", " ")


# ---- tables -----------------------------------------------------------------------------------


def show_table(columns: Sequence[Column | str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under their columns, as the terminal has room for them.

    Args:
        columns: The columns; a text stands for one that is never left out.
        rows: For each the values as they are: whole digests, moments, numbers, lists, texts.
    """
    console = open_console()
    console.print(render(columns, rows, console), soft_wrap=True)


def render(
    columns: Sequence[Column | str], rows: Sequence[Sequence[Any]], console: Console
) -> Text:
    """Return a table as a console has room for it; see `show_table`."""
    from rich.cells import cell_len

    declared = [each if isinstance(each, Column) else Column(each) for each in columns]
    iso = _wants_iso() or not console.is_terminal
    shown = shorten(
        each for row in rows for each in row if isinstance(each, str) and _DIGEST.fullmatch(each)
    )
    cells = [[_cell(each, shown, iso=iso) for each in row] for row in rows]
    widths = [
        max(map(cell_len, (column.name, *(row[at] for row in cells))))
        for at, column in enumerate(declared)
    ]
    if console.is_terminal:
        fixed = [_is_fixed(column, [row[at] for row in rows]) for at, column in enumerate(declared)]
        room = None if console.width < NARROWEST else _fit(declared, widths, fixed, console.width)
        if room is None:
            return _stacked(declared, cells)
        widths = room
    right = [
        any(isinstance(row[at], int) for row in rows)
        and all(row[at] is None or isinstance(row[at], int) for row in rows)
        for at in range(len(declared))
    ]
    return _lines(declared, cells, widths, right, ascii_only=console.options.ascii_only)


def _is_fixed(column: Column, values: list[Any]) -> bool:
    """Tell whether a column's cells cannot be cut."""
    return column.whole or all(
        value is None
        or not isinstance(value, str | list | tuple)
        or (isinstance(value, str) and bool(_DIGEST.fullmatch(value)))
        for value in values
    )


def _fit(
    columns: list[Column], widths: list[int], fixed: list[bool], width: int
) -> list[int] | None:
    """Return the widths that columns get, 0 for one that is left out, or None if none fit."""
    least = [w if whole else min(w, _LEAST) for w, whole in zip(widths, fixed, strict=True)]
    kept = list(range(len(columns)))

    def left() -> int:
        return width - sum(least[at] for at in kept) - len(_GAP) * (len(kept) - 1)

    for at in sorted(kept, key=lambda at: columns[at].drop, reverse=True):
        if left() >= 0:
            break
        if columns[at].drop:
            kept.remove(at)
    if left() < 0:
        return None
    given = [least[at] if at in kept else 0 for at in range(len(columns))]
    spare = left()
    for at in sorted(kept, key=lambda at: widths[at] - given[at]):  # what wants least gets it first
        more = min(widths[at] - given[at], spare)
        given[at] += more
        spare -= more
    return given


def _lines(
    columns: list[Column],
    cells: list[list[str]],
    widths: list[int],
    right: list[bool],
    *,
    ascii_only: bool,
) -> Text:
    from rich.cells import cell_len
    from rich.text import Text

    kept = [at for at, width in enumerate(widths) if width]

    def line(row: Sequence[str]) -> str:
        texts = []
        for at in kept:
            text, width = row[at], widths[at]
            if cell_len(text) > width:
                text = _cut(text, width, "~" if ascii_only else "…", tail=columns[at].tail)
            blank = " " * (width - cell_len(text))
            texts.append(blank + text if right[at] else text + blank)
        return _GAP.join(texts).rstrip()

    text = Text(line([each.name for each in columns]), style="bold")
    lines = [text, *(Text(line(row)) for row in cells)]
    return Text("\n").join(lines)


def _cut(text: str, width: int, mark: str, *, tail: bool) -> str:
    """Return the head or the tail of a text, and a mark for the rest."""
    from rich.cells import set_cell_size

    if tail:
        return mark + set_cell_size(text[::-1], width - 1)[::-1]
    return set_cell_size(text, width - 1) + mark


def _stacked(columns: list[Column], cells: list[list[str]]) -> Text:
    """Return a table with a line for each field, and an empty one between rows."""
    from rich.text import Text

    width = max(len(each.name) for each in columns)
    rows = [
        "\n".join(
            f"{column.name:<{width}}{_GAP}{cell}"
            for column, cell in zip(columns, row, strict=True)
            if cell
        )
        for row in cells
    ]
    return Text("\n\n".join(rows))


# ---- fields -----------------------------------------------------------------------------------


def show_fields(fields: Mapping[str, Any]) -> None:
    """Print names and values, one a line; those of a mapping below its name."""
    for line in _field_lines(fields, iso=_wants_iso() or not open_console().is_terminal):
        click.echo(line)


def _field_lines(fields: Mapping[str, Any], *, iso: bool) -> list[str]:
    plain = [name for name, value in fields.items() if not isinstance(value, Mapping)]
    width = max(map(len, plain), default=0)
    lines = []
    for name, value in fields.items():
        if isinstance(value, Mapping):
            lines += [name, *(f"  {line}" for line in _field_lines(value, iso=iso))]
        else:
            lines.append(f"{name:<{width}}  {_cell(value, {}, iso=iso)}".rstrip())
    return lines
