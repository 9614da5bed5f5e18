"""`casflow verify`: whether stores still hold what their references name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from casflow import cache
from casflow.blobs.local import LocalBlobStore
from casflow.cli.output import json_option, note, show_json, size, working
from casflow.cli.stores import known, record_renewed
from casflow.cli.table import plural
from casflow.errors import ConfigError, IntegrityError
from casflow.gc import Verification
from casflow.gc import verify as verify_store

if TYPE_CHECKING:
    from casflow.blobs.base import BlobStore


@click.command()
@click.argument("stores", nargs=-1, metavar="[STORE]...")
@click.option(
    "--read-data/--no-read-data",
    default=None,
    help="Read every blob back.  [default: of folders yes, of buckets no]",
)
@click.option("--sample", metavar="SHARE", help="Read so many of the blobs back, such as 5%.")
@click.option("--repair", is_flag=True, help="Bring back what the cache or a copy still has.")
@click.option("--signatures", is_flag=True, help="Check also what is signed, and what must be.")
@json_option
def verify(
    stores: tuple[str, ...],
    read_data: bool | None,
    sample: str | None,
    repair: bool,
    signatures: bool,
    as_json: bool,
) -> None:
    """Read back what is stored, hold it to its digests, and check that all versions can run.

    STORE is a folder, s3://bucket, gs://bucket or az://container. Without one, all stores that
    the registry's versions name are verified. What is wrong is one line each, and exit code 4.
    """
    asked = None if sample is None else _share(sample)
    caches = [cache.default().find] if repair else None
    done = []
    found = known()
    for store in found.choose(stores):
        share = _default_share(store, read_data) if asked is None else asked
        with working(f"verifying {store.url}"):
            checked = verify_store(
                store, share=share, caches=caches, claims=found.claims(store, all_flows=True)
            )
        record_renewed(found.versions.get(store.url, {}), checked.renewed)
        done.append(_with_signatures(checked, store) if signatures else checked)
    if as_json:
        show_json(
            {"clean": all(each.clean for each in done), "stores": [each.to_dict() for each in done]}
        )
    else:
        for each in done:
            _show(each)
    _complain(done)


def _with_signatures(checked: Verification, store: BlobStore) -> Verification:
    from casflow import config
    from casflow.gc.signatures import find_bad_signatures

    with working(f"checking signatures in {store.url}"):
        found = tuple(find_bad_signatures(store, cache.default(), config.load()))
    return replace(checked, findings=(*checked.findings, *found))


def _share(text: str) -> float:
    number, percent = text.removesuffix("%"), text.endswith("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError as error:
        raise ConfigError(f"not a share: {text!r}", hint="write it as 5%") from error
    if not 0 <= share <= 1:
        raise ConfigError(f"not a share: {text!r}", hint="write it as 5%")
    return share


def _default_share(store: BlobStore, read_data: bool | None) -> float:
    return float(isinstance(store, LocalBlobStore) if read_data is None else read_data)


def _show(done: Verification) -> None:
    for finding in done.findings:
        click.echo(str(finding))
    if done.foreign:
        note(f"{done.store}: left alone {plural(done.foreign, 'object')} of other programs")
    if done.retired:
        retired = plural(done.retired, "version")
        click.echo(f"{done.store}: retention took {retired} that the registry lists")
    state = "whole" if done.clean else "not whole"
    click.echo(
        f"{done.store}: {state}; {plural(done.references, 'reference')}, "
        f"{plural(done.blobs.blobs, 'blob')} ({size(done.blobs.bytes)}), "
        f"{done.read.blobs} read back, {done.orphaned.blobs} waiting for gc"
    )


def _complain(done: list[Verification]) -> None:
    wrong = [(each, finding) for each in done for finding in each.findings if not finding.repaired]
    if wrong:
        hint = "try --repair on a machine that ran the flow; what stays says what to do"
        what = "1 thing is wrong" if len(wrong) == 1 else f"{len(wrong)} things are wrong"
        raise IntegrityError(what, where=wrong[0][0].store, hint=hint)
