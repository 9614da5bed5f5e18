"""`casflow trust`: whose word counts on this machine.

Owns the files of allowed signers and of revoked keys, as far as a command changes them. Invariant:
a line is written only after it was read back as what it shall say, and lines of others stay as
they are, so that the files remain the user's and `ssh-keygen` reads them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from casflow import config
from casflow.cli.groups import Group
from casflow.cli.output import json_option, note, show_json
from casflow.cli.table import Column, show_table
from casflow.errors import ConfigError, NotFoundError, os_errors
from casflow.signing.allowed import parse_allowed, parse_revoked
from casflow.signing.keys import parse_line
from casflow.signing.verifier import load_trust

if TYPE_CHECKING:
    from casflow.signing.keys import PublicKey


@click.group(cls=Group)
def trust() -> None:
    """Say whose signatures count on this machine.

    The keys stand in the file that the setting allowed_signers names, in the form that ssh-keygen
    and git read; keys that no longer count in the one of the setting revoked_keys.
    """


@trust.command()
@click.argument("key", type=click.Path(path_type=Path))
@click.option("--as", "principal", required=True, metavar="WHO", help="Whose key it is.")
@click.option("--authority", is_flag=True, help="It signs certificates of WHO, a pattern.")
@click.option("--from", "after", metavar="DATE", help="The first day on which it counts.")
@click.option("--until", "before", metavar="DATE", help="The day on which it no longer counts.")
def add(key: Path, principal: str, authority: bool, after: str | None, before: str | None) -> None:
    """Let signatures by the public key in the file KEY count."""
    settings = config.load()
    options = ["cert-authority"] if authority else []
    options += ['namespaces="casflow"']
    options += [f'valid-after="{_day(after)}Z"'] if after else []
    options += [f'valid-before="{_day(before)}Z"'] if before else []
    public = _read_key(key)
    if any(each.isspace() or each in '"#' for each in principal):
        raise ConfigError("a name with spaces or quotes", where=repr(principal))
    line = f"{principal} {','.join(options)} {public.to_line()}"
    parse_allowed(line, where=settings.allowed_signers)
    load_trust(settings)  # what is there already has to be read, too
    _append(settings.allowed_signers, line)
    note(f"{principal}: {public}")


@trust.command()
@click.argument("key", type=click.Path(path_type=Path))
def revoke(key: Path) -> None:
    """Let no signature by the public key in the file KEY count, whenever it was made."""
    settings = config.load()
    public = _read_key(key)
    if public.blob not in load_trust(settings).revoked:
        parse_revoked(public.to_line(), where=settings.revoked_keys)
        _append(settings.revoked_keys, public.to_line())
    note(f"revoked: {public}")


@trust.command("ls")
@json_option
def list_keys(as_json: bool) -> None:
    """List whose signatures count, and for what names one is needed."""
    settings = config.load()
    found = load_trust(settings)
    rows: list[dict[str, Any]] = [
        {
            "who": each.principals,
            "key": str(each.key),
            "kind": "authority" if each.is_authority else "key",
            "from": _shown(each.after or None),
            "until": _shown(each.before),
            "revoked": each.key.blob in found.revoked,
        }
        for each in found.allowed
    ]
    if as_json:
        show_json(
            {"keys": rows, "require": list(settings.require), "threshold": settings.threshold}
        )
        return
    if rows:
        columns = [
            Column("who"),
            Column("key"),
            Column("kind", drop=2),
            Column("from", drop=4),
            Column("until", drop=3),
            Column("revoked", drop=1),
        ]
        show_table(columns, [[*list(row.values())[:-1], row["revoked"] or None] for row in rows])
    else:
        note(f"nobody is trusted; {settings.allowed_signers} has no key")
    needed = " ".join(settings.require) or "nothing"
    note(f"signatures are required of {needed}; {settings.threshold} of each")


def _read_key(path: Path) -> PublicKey:
    if not path.is_file():
        raise NotFoundError("no such public key", where=path)
    with os_errors(path):
        text = path.read_text(encoding="utf-8", errors="replace")
    if "PRIVATE KEY" in text:
        raise ConfigError("a private key", where=path, hint=f"name the public one, {path}.pub")
    key = parse_line(text)
    if key.certificate is not None:
        raise ConfigError("a certificate", where=path, hint="name the key, or its authority's")
    return key


def _append(path: Path, line: str) -> None:
    with os_errors(path):
        config.make_folder(path.parent)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        gap = "" if not before or before.endswith("\n") else "\n"
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{gap}{line}\n")


def _day(text: str) -> str:
    try:
        return datetime.strptime(text, "%Y-%m-%d").strftime("%Y%m%d")  # noqa: DTZ007 - a day
    except ValueError as error:
        raise ConfigError("not a day", where=repr(text), hint="write it as 2027-01-31") from error


def _shown(moment: float | None) -> str:
    return "" if moment is None else f"{datetime.fromtimestamp(moment, UTC):%F %T}"
