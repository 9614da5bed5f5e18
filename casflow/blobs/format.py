"""The format of a content store: the object that says its number.

Owns that object, and what a writer checks before it stores its first blob. Invariant: a format that
is not known here is refused and never written over, and a store that creates a key twice is
refused before a process writes its first blob there.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from casflow.blobs import layout
from casflow.errors import (
    CasflowError,
    ConfigError,
    ConflictError,
    IntegrityError,
    NotFoundError,
)

if TYPE_CHECKING:
    from casflow.blobs.base import BlobStore

logger = logging.getLogger(__name__)

FORMAT = 2  # of a store; a reference's own number is `casflow.reference.FORMAT`
FORMAT_OBJECT = json.dumps({"format": FORMAT}).encode() + b"\n"
_READABLE = (1, FORMAT)
_LONGEST = 1000  # bytes of the object that are read


def claim_format(store: BlobStore) -> None:
    """Write the format's number into a new store or one of an older format.

    Raises:
        IntegrityError: The store has a format that is not known here.
        ConfigError: The store creates a key twice.
    """
    is_new = False
    try:
        found = read_format(store)
    except NotFoundError:
        is_new = True
        with suppress(ConflictError):
            store.create(layout.FORMAT, FORMAT_OBJECT)
    else:
        if check_format(found, where=store.location(layout.FORMAT)) != FORMAT:
            store.put(layout.FORMAT, FORMAT_OBJECT)
    if not store.creates_once:
        _require_one_winner(store)
    if is_new:
        _warn_of_parts(store)


def _require_one_winner(store: BlobStore) -> None:
    """Check with a key that is there that the store creates none twice.

    Raises:
        ConfigError: It does: two writers would lose each other's flows.
    """
    try:
        store.create(layout.FORMAT, FORMAT_OBJECT)
    except ConflictError:
        store.creates_once = True
        return
    what = "the server ignores conditional writes (If-None-Match)"
    hint = (
        "use another server, or promise that nobody else writes here: exclusive_writer=True, "
        "--exclusive-writer or the settings"
    )
    raise ConfigError(what, where=store.url, hint=hint)


def _warn_of_parts(store: BlobStore) -> None:
    """Say so where two writers of one big blob would both win: harmless, for they agree."""
    with suppress(CasflowError):  # a server that takes no parts says so when a big blob comes
        if not store.creates_parts_once(layout.FORMAT, FORMAT_OBJECT):
            logger.warning(
                "%s: the server ignores conditions (If-None-Match) on uploads in parts; nothing is "
                "lost by that, for big objects are named by their digests",
                store.url,
            )


def read_format(store: BlobStore) -> bytes:
    """Return the object that says a store's format, or the beginning of one that is too long.

    Raises:
        NotFoundError: There is none.
    """
    return store.get_range(layout.FORMAT, 0, _LONGEST)


def check_format(data: bytes, *, where: object) -> int:
    """Return the number of a store's format.

    Raises:
        IntegrityError: It is not known here.
    """
    number = format_number(data)
    if number is None:
        hint = "run `casflow verify --repair` on the store"
        raise IntegrityError("the store's format cannot be read", where=where, hint=hint)
    if number not in _READABLE:
        hint = f"this casflow uses format {FORMAT}; use a newer one"
        raise IntegrityError("a store of unknown format", where=where, hint=hint)
    return number


def format_number(data: bytes) -> int | None:
    """Return the number in the object that says a store's format, or None if it is damaged."""
    try:
        number = json.loads(data)["format"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return number if type(number) is int else None
