"""Promotion: a version goes from one store to another.

Owns what a copy takes along and what it gets anew. Invariant: it is the writer's protocol of
docs/gc.md in the other store, so a copy appears whole or not at all; blobs go by digest, only what
is missing there, and what is read is verified before it is sent; what was signed of the version is
carried over; the number is of that store.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow.blobs import layout
from casflow.blobs.concurrent import run_concurrently
from casflow.blobs.format import claim_format
from casflow.store.records import Version, version_of
from casflow.trees.contents import BIG, Contents
from casflow.trees.selected import VERSION, Selected
from casflow.trees.signatures import Signatures
from casflow.trees.tags import MOVE_KEYS
from casflow.trees.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Callable

    from casflow.blobs.content import ContentStore
    from casflow.blobs.draft import Source
    from casflow.cache import Cache
    from casflow.reference import BlobName, Reference


def promote(
    reference: Reference,
    source: ContentStore,
    cache: Cache,
    target: ContentStore,
    *,
    dry_run: bool = False,
) -> Version:
    """Copy a version to another store, unless the newest one of its name there is the same.

    Raises:
        IntegrityError: A blob of it is missing or damaged.
    """
    versions = Versions(target)
    carry = partial(Signatures(source.store).carry, reference, versions.signatures)
    newest = versions.newest(reference.flow)
    if newest is not None and newest.reference.same_content(reference):
        if not dry_run:
            carry(newest.reference)
        return version_of(newest)
    if dry_run:
        return _preview(reference, target, 1 if newest is None else newest.number + 1)
    claim_format(target.store)
    number = versions.claim_number(reference.flow, 0 if newest is None else newest.number)
    now = datetime.now(UTC)
    copied = replace(
        reference,
        created=now.isoformat(timespec="microseconds"),
        extra={**_untagged(reference), VERSION: number},
    )
    sent: list[int] = []
    key = layout.reference(reference.flow, now)
    with ExitStack() as stack:
        supply = partial(_supply, Contents(source, cache), cache, stack, sent.append)
        made = target.copy(copied, key, supply=supply, prepare=carry)
    return replace(version_of(Selected(key, made)), is_new=True, uploaded=sum(sent))


def _preview(reference: Reference, target: ContentStore, number: int) -> Version:
    blobs = {blob.digest: blob for blob in reference.blobs()}.values()
    standing = run_concurrently(*(partial(target.has, blob) for blob in blobs))
    missing = sum(blob.size for blob, stands in zip(blobs, standing, strict=True) if not stands)
    made = replace(reference, extra={**_untagged(reference), VERSION: number})
    return replace(version_of(Selected("", made)), is_new=True, uploaded=missing)


def _supply(
    contents: Contents,
    cache: Cache,
    stack: ExitStack,
    count: Callable[[int], None],
    blob: BlobName,
) -> Source:
    """Return the verified bytes of a blob, or a file of them that stays until the stack ends."""
    count(blob.size)
    if blob.size < BIG:
        return bytes(contents.get(blob))
    folder = tempfile.TemporaryDirectory(dir=cache.work_folder("tmp"), ignore_cleanup_errors=True)
    path = Path(stack.enter_context(folder), "blob")
    with path.open("x+b") as file:
        contents.save(blob, file)
    return path


def _untagged(reference: Reference) -> dict[str, Any]:
    """Return what a reference says beyond its fields, without what made it a move of a tag."""
    return {key: value for key, value in reference.extra.items() if key not in MOVE_KEYS}
