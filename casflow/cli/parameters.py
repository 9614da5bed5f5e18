"""Options that name a version of a flow and its parameters.

Owns how `-P name=value` is read: a value that is JSON is that JSON, any other is text.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from casflow.cli.output import note
from casflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

Command = Any

# What a row of the registry can have as its number; a database takes no larger one.
NUMBER = click.IntRange(1, 2**63 - 1)

parameter_option = click.option(
    "-P",
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the flow; what is JSON is read as JSON.",
)


def renamed_option(
    old: str, new: str, type_: click.ParamType[Any] | None = None
) -> Callable[[Command], Command]:
    """Return an option that is still taken under its old name, and says its new one."""

    def say(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        del context, parameter
        if value is not None:
            note(f"{old} is now called {new}; the old name goes with 0.3")
        return value

    name = f"old_{new.removeprefix('--').replace('-', '_')}"
    return click.option(old, name, type=type_, hidden=True, callback=say, help=f"Now {new}.")


def version_options(command: Command) -> Command:
    """Add the options that name a version and its parameters to a command."""
    options: list[Callable[[Command], Command]] = [
        click.option("--project", help="Project of the flow.  [default: default]"),
        click.option("--version", "number", type=NUMBER, help="Version.  [default: the latest]"),
        click.option("--digest", help="Digest of the version, or its first digits."),
        parameter_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def parse_parameters(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return parameters by name.

    Raises:
        ConfigError: One is not `name=value`, or is given twice.
    """
    parsed: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError("not a parameter", where=repr(pair), hint="write it as name=value")
        if name in parsed:
            raise ConfigError("a parameter is given twice", where=name)
        parsed[name] = _value(value)
    return parsed


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
