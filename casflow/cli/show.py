"""`casflow ls` and `casflow show`: what is registered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from casflow import config, signing
from casflow.cli.completion import complete_flow
from casflow.cli.output import json_option, note, show_json, size
from casflow.cli.table import Column, iso_option, plural, show_fields, show_table
from casflow.cli.versions import get_version
from casflow.errors import CasflowError, NotFoundError
from casflow.refs import parse_ref
from casflow.registry import Registry
from casflow.storage import load

if TYPE_CHECKING:
    from casflow.registry import Version


@click.command()
@click.option("--project", help="Only flows of this project.")
@iso_option
@json_option
def ls(project: str | None, as_json: bool) -> None:
    """List the latest version of every flow."""
    with Registry(config.load().registry) as registry:
        versions = registry.flows(project)
    if as_json:
        show_json([_form(each) for each in versions])
    elif versions:
        _table(versions)
    else:
        note("no flow is registered")


@click.command()
@click.argument("name", metavar="REF", shell_complete=complete_flow)
@click.option("--project", help="Project of the flow.  [default: default]")
@click.option("--environment", is_flag=True, help="Show what the version was built with.")
@iso_option
@json_option
def show(name: str, project: str | None, environment: bool, as_json: bool) -> None:
    """Show a flow and its versions, newest first.

    REF is its name, or NAME@VERSION, NAME@TAG or the start of a digest for one of the versions.
    """
    versions = _versions(project, name)
    if environment:
        _show_environment(versions[0], as_json=as_json)
    elif as_json:
        show_json([{**_form(versions[0]), **_signed(versions[0])}, *map(_form, versions[1:])])
    else:
        _show_version(versions[0], is_one=versions[0].flow != name)
        if versions[0].flow == name:
            click.echo()
            rows = [(v.number, v.digest, v.created, v.labels) for v in versions]
            show_table(["version", "digest", "created", Column("labels", drop=1)], rows)


def _show_version(version: Version, *, is_one: bool) -> None:
    """Print a version; of the newest one the table below it says the rest."""
    fields: dict[str, Any] = {
        "flow": version.flow,
        "project": version.project,
        "storage": version.storage.get("type"),
        "location": version.location,
        "digest": version.digest,
    }
    if is_one:
        fields |= {
            "version": version.number,
            "created": version.created,
            "labels": version.labels,
            "size": size(int((version.reference or {}).get("size") or 0)),
        }
    show_fields({**fields, **_signed(version)})


def _signed(version: Version) -> dict[str, Any]:
    """Return who signed a version; nothing where nobody did, or nobody is trusted here."""
    settings = config.load()
    if not settings.require and not signing.load_trust(settings).allowed:
        return {}
    try:
        storage = load(version.storage)
        reference = storage.reference(version.flow)
        texts = storage.find_signatures(version.flow, reference)
    except CasflowError as error:
        return {"signed by": f"unknown ({error.what})"}
    signers = signing.signers_of(signing.find_signatures(texts, signing.Statement.of(reference)))
    return {"signed by": ", ".join(map(str, signers)) or "nobody"}


def _versions(project: str | None, text: str) -> list[Version]:
    with Registry(config.load().registry) as registry:
        try:
            return registry.versions(project, text)
        except NotFoundError:
            if parse_ref(text).is_newest:
                raise
    return [get_version(project, text)]


def _show_environment(version: Version, *, as_json: bool) -> None:
    reference = version.reference or {}
    environment: dict[str, Any] = dict(reference.get("environment", {}))
    if as_json:
        show_json(environment)
        return
    for name, value in environment.items():
        if isinstance(value, dict):
            show_fields({name: plural(len(value), "entry", "entries")})
            show_fields({f"  {key}": each for key, each in value.items()})
        else:
            show_fields({name: value})


def _table(versions: list[Version]) -> None:
    columns = [
        Column("project", drop=1),
        Column("flow"),
        Column("version"),
        Column("digest"),
        Column("created", drop=2),
        Column("labels", drop=3),
    ]
    rows = [(v.project, v.flow, v.number, v.digest, v.created, v.labels) for v in versions]
    show_table(columns, rows)


def _form(version: Version) -> dict[str, Any]:
    return {
        "project": version.project,
        "flow": version.flow,
        "version": version.number,
        "digest": version.digest,
        "location": version.location,
        "labels": list(version.labels),
        "created": version.created.isoformat(),
        "storage": dict(version.storage),
    }
