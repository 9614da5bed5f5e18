"""The keys of a store: which object stands where.

Owns every key below `.casflow/` and the folder-and-stamp form of a reference's key. Invariant: no
other module spells or takes apart a key. See docs/format.md for the tree.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from casflow.digests import PREFIX, digest_of, hex_of
from casflow.errors import IntegrityError
from casflow.reference import slug, stamp

FORMAT = ".casflow/format"
BLOBS = ".casflow/blobs/"
CONDEMNED = ".casflow/gc/condemned/"
RUNS = ".casflow/gc/runs/"
PINS = ".casflow/pins/"
TRASH = ".casflow/trash/"
NAMES = ".casflow/names/"
VERSIONS = ".casflow/versions/"
TAGS = ".casflow/tags/"
LEASES = ".casflow/leases/"
SIGNATURES = ".casflow/signatures/"
OWN = ".casflow/"

_BLOB = re.compile(r"\.casflow/blobs/[0-9a-f]{2}/([0-9a-f]{64})-(\d+)")
_MARKER = re.compile(r"\.casflow/gc/condemned/([0-9a-f]{64})-(\d+)")
_TAG_MOVE = re.compile(r"(\.casflow/tags/[0-9a-f]{64}/[^/]+/)(\d{8})")
_LEASE = re.compile(r"\.casflow/leases/([0-9a-f]{64})/([^/]+)/(\d{4}-\d\d-\d\d)")
_SIGNATURE = re.compile(r"\.casflow/signatures/([0-9a-f]{64})-(\d{1,9})/[0-9a-f]{64}")
_PIN_TOKEN = re.compile(r"@[0-9a-f]{16}\Z")
_REFERENCE = re.compile(r"[a-z0-9-]+/\d{4}-\d\d-\d\dt\d\d-\d\d-\d\d-\d{6}-00-00")


def blob(digest: str, incarnation: int) -> str:
    """Return the key of one incarnation of a blob."""
    return f"{blob_prefix(digest)}{incarnation}"


def blob_prefix(digest: str) -> str:
    """Return what the keys of all incarnations of a blob start with."""
    name = hex_of(digest)
    return f"{BLOBS}{name[:2]}/{name}-"


def marker(digest: str, incarnation: int) -> str:
    """Return the key of the marker that condemns one incarnation of a blob."""
    return f"{CONDEMNED}{hex_of(digest)}-{incarnation}"


def parse_blob(key: str) -> tuple[str, int] | None:
    """Return digest and incarnation of a blob's key, or None for another key."""
    return _taken_apart(_BLOB, key)


def parse_marker(key: str) -> tuple[str, int] | None:
    """Return digest and incarnation of a marker's key, or None for another key."""
    return _taken_apart(_MARKER, key)


def _taken_apart(form: re.Pattern[str], key: str) -> tuple[str, int] | None:
    match = form.fullmatch(key)
    return None if match is None else (PREFIX + match[1], int(match[2]))


def reference(flow: str, moment: datetime) -> str:
    """Return the key of a reference made at a moment."""
    return f"{folder(flow)}{stamp(moment)}"


def folder(flow: str) -> str:
    """Return what the keys of a flow's references start with."""
    return f"{slug(flow)}/"


def is_reference(key: str) -> bool:
    """Tell whether a key is one that references stand at."""
    return _REFERENCE.fullmatch(key) is not None


def name(key: str) -> str:
    """Return the key of the entry which says that `key` is a mutable name, so a root for gc."""
    return f"{NAMES}{key}"


def version(name: str, number: int) -> str:
    """Return the key of the entry which says what reference is a version of a name."""
    return f"{versions(name)}{number}"


def versions(name: str) -> str:
    """Return what the keys of all versions of a name start with."""
    return f"{VERSIONS}{hex_of(digest_of(name.encode()))}/"


def tags(name: str) -> str:
    """Return what the keys of all moves of all tags of a name start with."""
    return f"{TAGS}{hex_of(digest_of(name.encode()))}/"


def tag_move(name: str, tag: str, number: int) -> str:
    """Return the key of a move of a tag; they count from 1 and sort in this order."""
    return f"{tags(name)}{tag}/{number:08d}"


def parse_tag_move(key: str) -> tuple[str, int] | None:
    """Return what the keys of all moves of a tag start with, and the number of one of them."""
    match = _TAG_MOVE.fullmatch(key)
    return None if match is None else (match[1], int(match[2]))


def lease(digest: str, host: str, day: date) -> str:
    """Return the key of the lease that a machine holds on a digest for a day."""
    return f"{leases(digest)}{slug(host)}/{day.isoformat()}"


def leases(digest: str) -> str:
    """Return what the keys of all leases on a digest start with."""
    return f"{LEASES}{hex_of(digest)}/"


def lease_day(key: str) -> date | None:
    """Return the day of a lease's key, or None for another key."""
    parts = parse_lease(key)
    return None if parts is None else parts[2]


def parse_lease(key: str) -> tuple[str, str, date] | None:
    """Return digest, machine and day of a lease's key, or None for another key."""
    match = _LEASE.fullmatch(key)
    try:
        return match and (PREFIX + match[1], match[2], date.fromisoformat(match[3]))
    except ValueError:  # there is no such day
        return None


def signature(digest: str, incarnation: int, own: str) -> str:
    """Return the key of a signature that speaks of one incarnation of a blob.

    Args:
        digest: Digest of the blob.
        incarnation: The blob's incarnation.
        own: Digest of the signature.
    """
    return f"{signatures(digest)}{incarnation}/{hex_of(own)}"


def signatures(digest: str) -> str:
    """Return what the keys of all signatures that speak of a digest start with."""
    return f"{SIGNATURES}{hex_of(digest)}-"


def parse_signature(key: str) -> tuple[str, int] | None:
    """Return digest and incarnation of the blob of a signature's key, or None for another key."""
    return _taken_apart(_SIGNATURE, key)


def moment(key: str) -> datetime:
    """Return when the reference at a key was made, by its writer's clock.

    Raises:
        IntegrityError: There is no such moment.
    """
    numbers = key.rpartition("/")[2].replace("t", "-").split("-")[:7]
    try:
        year, month, day, hour, minute, second, micro = map(int, numbers)
        return datetime(year, month, day, hour, minute, second, micro, tzinfo=UTC)
    except ValueError as error:
        raise IntegrityError("a reference's key holds no time", where=key) from error


def pin(name: str, token: str) -> str:
    """Return the key of a pin; the token tells it from earlier and later ones of its name."""
    return f"{PINS}{name}@{token}"


def pins(name: str) -> str:
    """Return what the keys of all pins of a name start with; those of longer names may, too."""
    return f"{PINS}{name}"


def pin_name(key: str) -> str:
    """Return the name of the pin at a key, which has no token if an older casflow made it."""
    return _PIN_TOKEN.sub("", key.removeprefix(PINS))


def trash(key: str) -> str:
    """Return the key in the trash of the reference that stood at `key`."""
    return f"{TRASH}{key}"


def run(identity: str) -> str:
    """Return the key of the object whose modification time is a collector's present moment."""
    return f"{RUNS}{identity}"


def report(identity: str) -> str:
    """Return the key of the report that a collector writes when it is done."""
    return f"{RUNS}{identity}.json"
