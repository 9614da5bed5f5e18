"""Packs: contents written back to back, and which packs a new version takes over.

Owns how the contents of a push are divided into packs, how packs are made of a folder's files, and
when packs of earlier versions are written anew. Invariant: a pack is made of bytes that were held
to their digests on the way in; and whoever reads all packs of a tree reads at most twice what the
tree needs, in a number of packs that grows with its bytes and not with its history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from casflow.digests import Hasher, pieces
from casflow.errors import UnavailableError, os_errors
from casflow.trees.index import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from casflow.trees.index import Index
    from casflow.trees.listing import Entry, Listing

PACK_SIZE = 16 * 2**20  # bytes of a pack, at most
LONE_SIZE = 4 * 2**20  # bytes from which a content is a pack by itself
_SMALL_PACK = PACK_SIZE // 2
_MAX_SMALL = 12  # small packs of earlier versions, before they are written as one


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that stands in a file.

    Attributes:
        digest: Its digest.
        size: Its bytes.
        path: The file.
    """

    digest: str
    size: int
    path: Path


@dataclass(frozen=True, slots=True)
class PackPlan:
    """What a push writes, and what it takes over.

    Attributes:
        groups: Files whose contents shall be written, those of one pack together.
        kept: Places of contents that earlier packs hold.
        packs: Bytes of those packs, by digest.
    """

    groups: list[list[Entry]]
    kept: dict[str, Place]
    packs: dict[str, int]

    @property
    def size(self) -> int:
        """Bytes that are to be written."""
        return sum(entry.size for group in self.groups for entry in group)


def plan_packs(listing: Listing, before: Index | None) -> PackPlan:
    """Decide which contents of a listing go to which new pack, and which packs stay.

    Args:
        listing: What shall be stored.
        before: The index of an earlier version in the same store.
    """
    wanted = {entry.digest: entry for entry in listing if entry.size}
    kept: dict[str, Place] = {}
    sizes: Mapping[str, int] = {}
    if before is not None:
        kept = {digest: place for digest, place in before.places.items() if digest in wanted}
        sizes = before.packs
    rewritten = _packs_to_rewrite(kept, sizes)
    kept = {digest: place for digest, place in kept.items() if place.pack not in rewritten}
    packs = {place.pack: sizes[place.pack] for place in kept.values()}
    fresh = [entry for digest, entry in wanted.items() if digest not in kept]
    return PackPlan(_grouped(fresh), kept, packs)


def _packs_to_rewrite(kept: Mapping[str, Place], sizes: Mapping[str, int]) -> set[str]:
    used: dict[str, int] = {}
    for place in kept.values():
        used[place.pack] = used.get(place.pack, 0) + place.length
    rewritten: set[str] = set()
    if 2 * sum(used.values()) < sum(sizes[pack] for pack in used):
        rewritten = {pack for pack, needed in used.items() if 2 * needed < sizes[pack]}
    # A pack whose digest is that of a content is one big content, and stays.
    small = [pack for pack in used.keys() - rewritten - kept.keys() if sizes[pack] < _SMALL_PACK]
    if len(small) > _MAX_SMALL:
        rewritten |= _smallest(small, sizes)
    return rewritten


def _smallest(packs: Iterable[str], sizes: Mapping[str, int]) -> set[str]:
    """Return the packs that are written as one: each is no bigger than the smaller ones together.

    So a content is written anew a number of times that grows with the logarithm of the project.
    """
    chosen: set[str] = set()
    total = 0
    for pack in sorted(packs, key=lambda each: (sizes[each], each)):
        if len(chosen) >= _MAX_SMALL // 2 and sizes[pack] > total:
            break
        chosen.add(pack)
        total += sizes[pack]
    return chosen


def _grouped(entries: Iterable[Entry]) -> list[list[Entry]]:
    groups: list[list[Entry]] = []
    lone: list[list[Entry]] = []
    room = 0
    for entry in entries:
        if entry.size >= LONE_SIZE:
            lone.append([entry])
            continue
        if entry.size > room:
            groups.append([])
            room = PACK_SIZE
        groups[-1].append(entry)
        room -= entry.size
    return lone + groups


def write_pack(
    group: Iterable[Entry], folder: Path, target: Path, written: Callable[[int], None]
) -> tuple[Pack, dict[str, Place]]:
    """Write the contents of some files back to back; return the pack and where each lies.

    Args:
        group: Files of the folder.
        folder: The folder that they are read from.
        target: The file to write.
        written: Is told of the bytes of each file.

    Raises:
        UnavailableError: A file has another content by now.
    """
    whole, places = Hasher(), []
    with os_errors(target), target.open("xb") as pack:
        for entry in group:
            hasher = Hasher()
            with os_errors(entry.path), (folder / entry.path).open("rb") as file:
                for piece in pieces(file):
                    hasher.update(piece)
                    whole.update(piece)
                    pack.write(piece)
            if hasher.digest() != entry.digest:
                hint = "push again when nobody writes to it"
                what = "a file changed while it was read"
                raise UnavailableError(what, where=entry.path, hint=hint)
            places.append((entry.digest, whole.size - entry.size, entry.size))
            written(entry.size)
    digest = whole.digest()
    made = Pack(digest, whole.size, target)
    return made, {content: Place(digest, at, length) for content, at, length in places}
