"""The reference of the command line, made from the commands themselves.

`uv run python -m tests.docs.cli_reference` writes it to docs/cli.md, below the heading "Commands".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from casflow.cli import casflow
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "cli.md"
HEADING = "## Commands\n"


def commands(
    group: click.Group = casflow, path: tuple[str, ...] = ("casflow",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that can be called, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif command is not None:
            yield (*path, name), command


def reference() -> str:
    """Return the section that documents all commands."""
    sections = [_section(words, command) for words, command in commands()]
    return "\n".join([HEADING, *sections])


def _section(words: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=" ".join(words))
    usage = " ".join([*words, *command.collect_usage_pieces(context)])
    summary = _escaped(command.help or "")
    rows = [
        f"| `{shown}` | {_escaped(text)} |"
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)
        and not parameter.hidden
        and "--help" not in parameter.opts
        for shown, text in [parameter.get_help_record(context) or ("", "")]
    ]
    table = ["| option | meaning |", "| --- | --- |", *rows, ""] if rows else []
    return "\n".join([f"### {' '.join(words)}\n", f"    {usage}\n", f"{summary}\n", *table])


def _escaped(text: str) -> str:
    for mark in "|[<":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def written() -> str:
    """Return the section as docs/cli.md has it."""
    return PAGE.read_text(encoding="utf-8").partition(HEADING)[2]


def write() -> None:
    """Write the section to docs/cli.md."""
    before = PAGE.read_text(encoding="utf-8").partition(HEADING)[0]
    PAGE.write_text(before + reference(), encoding="utf-8")


if __name__ == "__main__":
    write()
