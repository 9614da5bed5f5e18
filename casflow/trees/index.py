"""Indexes: the compressed listing of a tree, and where the contents of its files lie.

Owns the form of the attachment `index`: zlib-compressed JSON columns, followed by the raw digests
of the distinct contents, which do not compress. Invariant: an index that was read has a range for
every content, inside its pack, and every content has the size that the listing gives; whether a
range holds the right bytes is only known when they are hashed, which whoever reads them does.

Identity never depends on it: another packing, or another compression, is the same tree.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from casflow.digests import PREFIX, hex_of
from casflow.errors import CasflowError, IntegrityError
from casflow.trees.listing import FILE, SYMLINK, Entry, Listing, checked_listing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from casflow.trees.listing import Root

FORMAT = 1
_RAW = 32  # bytes of a digest
_LEVEL = 6  # of zlib
_HEAD_BYTES = 64 << 20  # most bytes of the columns besides paths: packs, gaps, repeats
_KINDS = {"f": (FILE, False), "x": (FILE, True), "l": (SYMLINK, False)}


class Place(NamedTuple):
    """Where a content lies: the digest of its pack, the first byte, and how many."""

    pack: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Index:
    """A tree's listing, and a place for each distinct content of it.

    Attributes:
        listing: The listing.
        packs: Bytes of each pack, by digest, in the order in which the reference names them.
        places: Where each content lies, by digest; an empty content lies nowhere.
    """

    listing: Listing
    packs: Mapping[str, int]
    places: Mapping[str, Place]

    def used(self) -> dict[str, int]:
        """Return how many bytes of each pack the tree needs."""
        used = dict.fromkeys(self.packs, 0)
        for place in self.places.values():
            used[place.pack] += place.length
        return used

    def to_bytes(self) -> bytes:
        """Return the form that is stored."""
        entries = self.listing.entries
        contents = list(dict.fromkeys(entry.digest for entry in entries if entry.size))
        number = {digest: position for position, digest in enumerate(self.packs)}
        places = [self.places[digest] for digest in contents]
        columns = {
            "format": FORMAT,
            "packs": [[hex_of(digest), size] for digest, size in self.packs.items()],
            "paths": [entry.path for entry in entries],
            "kinds": "".join(_kind(entry) for entry in entries),
            "sizes": [entry.size for entry in entries if entry.kind == FILE],
            "targets": [entry.target for entry in entries if entry.kind == SYMLINK],
            "repeats": _repeats(entries, contents),
            "pack": _runs([number[place.pack] for place in places]),
            "gaps": _runs(_gaps(places)),
        }
        text = json.dumps(columns, ensure_ascii=False, separators=(",", ":"))
        raw = b"".join(bytes.fromhex(hex_of(digest)) for digest in contents)
        return zlib.compress(text.encode(), _LEVEL) + raw

    @classmethod
    def from_bytes(cls, data: bytes, root: Root, *, where: object) -> Index:
        """Read the form that is stored, and check it against the root document of its tree.

        Raises:
            IntegrityError: It is none, one of an unknown format, or not that of this tree.
        """
        try:
            columns, raw = _unpacked(data, root)
            packs = {_digest(bytes.fromhex(name)): _whole(size) for name, size in columns["packs"]}
            contents = [_digest(raw[at : at + _RAW]) for at in range(0, len(raw), _RAW)]
            entries = _entries(columns, contents)
        except (ValueError, TypeError, KeyError, IndexError, zlib.error, RecursionError) as error:
            raise IntegrityError(f"damaged index ({error!r})", where=where) from error
        listing = checked_listing(entries, root, where=where)
        sizes: dict[str, int] = {}
        for entry in listing:
            if entry.size and sizes.setdefault(entry.digest, entry.size) != entry.size:
                raise IntegrityError("damaged index (one content of two sizes)", where=where)
        try:
            places = _places(columns, list(packs.items()), contents, sizes)
        except (ValueError, TypeError, KeyError, IndexError, CasflowError) as error:
            raise IntegrityError(f"damaged index ({error!r})", where=where) from error
        return cls(listing, packs, places)


def _kind(entry: Entry) -> str:
    if entry.kind == SYMLINK:
        return "l"
    return "x" if entry.executable else "f"


def _repeats(entries: Sequence[Entry], contents: Sequence[str]) -> list[list[int]]:
    """Return position among the files and number of the content, for files seen before."""
    numbers, seen, repeats = {digest: at for at, digest in enumerate(contents)}, set(), []
    files = [entry for entry in entries if entry.kind == FILE and entry.size]
    for position, entry in enumerate(files):
        if entry.digest in seen:
            repeats.append([position, numbers[entry.digest]])
        seen.add(entry.digest)
    return repeats


def _gaps(places: Sequence[Place]) -> list[int]:
    """Return each offset relative to the end of the content before it in the same pack."""
    ends: dict[str, int] = {}
    gaps = []
    for place in places:
        gaps.append(place.offset - ends.get(place.pack, 0))
        ends[place.pack] = place.offset + place.length
    return gaps


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """Return numbers as pairs of a number and how often it follows itself."""
    runs: list[list[int]] = []
    for each in numbers:
        if runs and runs[-1][0] == each:
            runs[-1][1] += 1
        else:
            runs.append([each, 1])
    return runs


def _numbers(runs: Any, count: int) -> list[int]:
    numbers: list[int] = []
    for value, times in runs:
        if type(value) is not int or not 0 < _whole(times) <= count - len(numbers):
            raise ValueError("a run that is too long")
        numbers += [value] * times
    if len(numbers) != count:
        raise ValueError(f"{len(numbers)} numbers for {count} contents")
    return numbers


def _unpacked(data: bytes, root: Root) -> tuple[dict[str, Any], bytes]:
    inflater = zlib.decompressobj()
    most = _HEAD_BYTES + root.listing_size + root.entries * 64
    text = inflater.decompress(data, most)
    if not inflater.eof:
        raise ValueError("columns that do not end")
    columns = json.loads(text)
    raw = inflater.unused_data
    if not isinstance(columns, dict) or columns["format"] != FORMAT or len(raw) % _RAW:
        raise ValueError("not columns and digests of a format that is known here")
    return columns, raw


def _digest(raw: bytes) -> str:
    if len(raw) != _RAW:
        raise ValueError("a digest of another length")
    return PREFIX + raw.hex()


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _entries(columns: Mapping[str, Any], contents: Sequence[str]) -> list[Entry]:
    sizes, targets = iter(columns["sizes"]), iter(columns["targets"])
    repeats = {_whole(position): _whole(number) for position, number in columns["repeats"]}
    fresh, position, entries = iter(contents), 0, []
    for path, kind in zip(columns["paths"], columns["kinds"], strict=True):
        which, executable = _KINDS[kind]
        if which == SYMLINK:
            entries.append(Entry(path, which, target=_next(targets)))
            continue
        size, digest = _whole(_next(sizes)), EMPTY
        if size:
            known = repeats.get(position)
            digest = _next(fresh) if known is None else contents[known]
            position += 1
        entries.append(Entry(path, which, executable, size, digest))
    if any(next(each, None) is not None for each in (sizes, targets, fresh)):
        raise ValueError("columns of different lengths")
    return entries


def _next(values: Any) -> Any:
    for value in values:
        return value
    raise ValueError("columns of different lengths")


def _places(
    columns: Mapping[str, Any],
    packs: Sequence[tuple[str, int]],
    contents: Sequence[str],
    sizes: Mapping[str, int],
) -> dict[str, Place]:
    numbers = _numbers(columns["pack"], len(contents))
    gaps = _numbers(columns["gaps"], len(contents))
    ends: dict[str, int] = {}
    places = {}
    for digest, number, gap in zip(contents, numbers, gaps, strict=True):
        pack, pack_size = packs[_whole(number)]
        offset, length = ends.get(pack, 0) + gap, sizes[digest]
        ends[pack] = offset + length
        if offset < 0 or offset + length > pack_size or digest in places:
            raise ValueError(f"{digest} lies outside its pack")
        places[digest] = Place(pack, offset, length)
    if len(places) != len(sizes):
        raise ValueError("contents without a place")
    return places


EMPTY = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
"""Digest of no bytes: such a file lies in no pack."""
