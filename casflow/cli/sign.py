"""`casflow sign`, and the option `--sign` of other commands.

Owns how a command is told to sign. Invariant: nothing of signatures is imported by a command that
is not.
"""

from __future__ import annotations

import click

sign_option = click.option(
    "--sign",
    metavar="[KEY]",
    is_flag=False,
    flag_value="",
    help="Sign it, with the SSH key KEY or your own.",
)


def asked_key(sign: str | None) -> bool | str:
    """Return what `--sign` asks for, as `sign=` of the functions takes it."""
    return False if sign is None else (sign or True)


@click.command()
@click.argument("ref")
@click.option("--key", default="", help="The SSH key.  [default: your own]")
@click.option("--store", metavar="STORE", help="Where it is.  [default: the setting `store`]")
def sign(ref: str, key: str, store: str | None) -> None:
    """Sign the version REF of a tree, in addition to what is signed already."""
    from casflow.store import Store

    opened = Store(store)
    version = opened.sign(ref, key or None)
    click.echo(f"{version}: signed, by {', '.join(map(str, opened.signers(version)))}")
