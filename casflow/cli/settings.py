"""`casflow config`: the settings, and where each comes from."""

from __future__ import annotations

from dataclasses import fields

import click

from casflow import config as settings
from casflow.cli.groups import Group
from casflow.cli.output import json_option, show_json
from casflow.cli.table import Column, show_table


@click.group(cls=Group)
def config() -> None:
    """Look at the settings."""


@config.command()
@json_option
def show(as_json: bool) -> None:
    """Show every setting and where it comes from."""
    loaded = settings.load()
    names = [each.name for each in fields(loaded) if each.name != "origins"]
    values = {name: _plain(getattr(loaded, name)) for name in names}
    rows = [(name, value, loaded.origins[name]) for name, value in values.items()]
    if as_json:
        show_json({name: {"value": value, "origin": origin} for name, value, origin in rows})
    else:
        show_table([Column("setting", whole=True), "value", Column("from", drop=1)], rows)


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, dict):
        return value or ""
    return value if isinstance(value, int | bool) else str(value)
