"""`casflow registry`: the registry's own health."""

from __future__ import annotations

from dataclasses import asdict

import click

from casflow import config
from casflow.cli.groups import Group
from casflow.cli.output import json_option, note, show_json
from casflow.cli.table import Column, plural, show_table
from casflow.errors import IntegrityError
from casflow.registry import Registry


@click.group(cls=Group)
def registry() -> None:
    """Look after the registry."""


@registry.command()
@click.option("--quarantine", is_flag=True, help="Set aside what is damaged.")
@json_option
def check(quarantine: bool, as_json: bool) -> int:
    """List the records that cannot be read; exit with 4 when there are any that stay.

    What a damaged version may name is kept by gc, also after it was set aside.
    """
    with Registry(config.load().registry) as opened:
        found = [each for each in opened.damage() if not each.reason.endswith(", set aside")]
        if quarantine:
            opened.quarantine(found)
    if as_json:
        show_json([asdict(each) for each in found])
    elif found:
        rows = [(each.kind, each.id, each.reason, each.location) for each in found]
        show_table(["record", "row", "what is wrong", Column("location", drop=1)], rows)
    else:
        note("every record can be read")
    if quarantine and found:
        note(f"set aside: {plural(len(found), 'record')}")
    return IntegrityError.exit_code if found and not quarantine else 0
