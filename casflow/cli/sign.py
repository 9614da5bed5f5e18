"""`casflow sign`, and the option `--sign` of other commands.

Owns how a command is told to sign. Invariant: nothing of signatures is imported by a command that
is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from casflow.errors import NotFoundError

if TYPE_CHECKING:
    from casflow.signing import Signer, SigningKey

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
    """Sign the version REF of a tree or a registered flow, in addition to what is signed already.

    It signs what the store says that REF is: look at it first.
    """
    from casflow import signing
    from casflow.store import Store

    chosen = signing.SigningKey.find(key)
    opened = Store(store)
    try:
        version = opened.sign(ref, chosen.name)
    except NotFoundError as error:
        signers, shown = _sign_flow(error, ref, chosen, store), ref
    else:
        signers, shown = opened.signers(version), str(version)
    click.echo(f"{shown}: signed, by {', '.join(map(str, signers))}")


def _sign_flow(error: NotFoundError, ref: str, key: SigningKey, store: str | None) -> list[Signer]:
    """Sign a registered flow in place of a tree that is not there; return who signed it.

    Raises:
        NotFoundError: There is none either; it is the one about the tree.
    """
    from casflow import signing
    from casflow.cli.selection import select_flow

    if store is not None:
        raise error
    try:
        versions, flow = select_flow(None, ref)
    except NotFoundError:
        raise error from None
    versions.signatures.sign(flow, key)
    return signing.signers_of(versions.signatures.find(flow))
