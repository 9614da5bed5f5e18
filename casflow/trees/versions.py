"""Versions: the numbered references of a name in one store.

Owns the road from a ref to a reference, and how versions get their numbers. Invariant: a number is
given to one version of a name and never again; a name becomes a digest in `Versions.select` alone.

The newest version is the one whose reference the store wrote last, by the store's own clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from casflow.blobs import layout
from casflow.digests import PREFIX, hex_of
from casflow.errors import ConfigError, ConflictError, NotFoundError
from casflow.trees.selected import MAX_VERSION, Selected, chunks, read_selected
from casflow.trees.signatures import Signatures
from casflow.trees.tags import Tags

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from casflow.blobs.base import ObjectInfo
    from casflow.blobs.content import ContentStore
    from casflow.refs import Ref
    from casflow.signing import Verifier

_ATTEMPTS = 50  # of numbers that others take at the same time


class Versions:
    """The versions and tags in one store.

    Args:
        content: The store.
        verifier: Gives what holds names to this machine's policy; when left out nothing does, as
            is right for whoever only looks at what is there.

    Attributes:
        signatures: What is signed of the versions, and of the moves of their tags.
        tags: The tags that name the versions.
    """

    def __init__(
        self, content: ContentStore, verifier: Callable[[], Verifier] | None = None
    ) -> None:
        self._content = content
        self._store = content.store
        self.signatures = Signatures(content.store, verifier)
        self.tags = Tags(content, self.signatures)

    def select(self, ref: Ref) -> Selected:
        """Return the reference that a ref means now: the one place where names become digests.

        Raises:
            NotFoundError: There is none.
            ConfigError: Several have the digits that were given.
            SignatureError: It is not signed as this machine's policy asks.
        """
        found = self.find(ref)
        is_named = ref.tag is not None or found.reference.flow == ref.name
        self.signatures.verify(ref.name if is_named else None, found, ref.tag)
        return found

    def find(self, ref: Ref) -> Selected:
        """Return what the store says that a ref means, whoever said so; see `select`."""
        if ref.name is None:
            return self._by_digest_anywhere(ref)
        if ref.tag is not None:
            return self.tags.find(ref.name, ref.tag)
        found = self._in_folder(ref)
        if found is None and ref.text == ref.name and ref.digest is not None:
            return self._by_digest_anywhere(ref)
        if found is None:
            raise self._unknown(ref)
        return found

    def newest(self, name: str, objects: Mapping[str, ObjectInfo] | None = None) -> Selected | None:
        """Return the newest version of a name, or None when it has none.

        Args:
            name: The name.
            objects: All objects of the store by key, as just listed; asked for when left out.
        """
        return self._first(name, lambda _: True, objects)

    def all(self, name: str) -> list[Selected]:
        """Return the versions of a name, newest first."""
        found = self._named(name, self._keys(name))
        return sorted(found, key=lambda each: each.number, reverse=True)

    def names(self) -> list[str]:
        """Return the names that have a version, sorted; one reference of each folder is read."""
        last: dict[str, ObjectInfo] = {}
        for info in self._store.list():
            if layout.is_reference(info.key):
                folder = info.key.partition("/")[0]
                last[folder] = max(info, last.get(folder, info), key=_age)
        found: set[str] = set()
        for each in read_selected(self._content, [info.key for info in last.values()]):
            found.add(each.reference.flow)
            if not each.number:  # a flow's; a version of the name may stand beside it
                found.discard(each.reference.flow)
                keys = self._keys(each.reference.flow)
                found |= {
                    some.reference.flow
                    for some in read_selected(self._content, keys)
                    if some.number
                }
        return sorted(found)

    def _keys(self, name: str, objects: Mapping[str, ObjectInfo] | None = None) -> list[str]:
        folder = layout.folder(name)
        infos = self._store.list(folder) if objects is None else objects.values()
        references = [
            info for info in infos if info.key.startswith(folder) and layout.is_reference(info.key)
        ]
        return [info.key for info in sorted(references, key=_age, reverse=True)]

    def _first(
        self,
        name: str,
        is_wanted: Callable[[Selected], bool],
        objects: Mapping[str, ObjectInfo] | None = None,
    ) -> Selected | None:
        keys = self._keys(name, objects)
        for some in (keys[:1], *chunks(keys[1:], self._store.parallel)):
            for found in self._named(name, some):
                if is_wanted(found):
                    return found
        return None

    def _named(self, name: str, keys: Sequence[str]) -> list[Selected]:
        return [
            each
            for each in read_selected(self._content, keys)
            if each.reference.flow == name and each.number
        ]

    def _in_folder(self, ref: Ref) -> Selected | None:
        name = str(ref.name)
        if ref.version is not None:
            return self._first(name, lambda each: each.number == ref.version)
        if ref.digest is None or ref.text == name:
            return self.newest(name)
        if ref.full_digest is not None:
            found = self._first(name, lambda each: each.reference.digest == ref.full_digest)
            return found or self._leased(ref.full_digest, name)
        return _only(ref, [each for each in self.all(name) if _matches(each, ref)])

    def _leased(self, digest: str, name: str | None) -> Selected | None:
        """Return what a lease or a tag still holds of a digest that retention took."""
        keys = [info.key for info in self._store.list(layout.leases(digest))]
        if name is not None:
            keys += [info.key for info in self._store.list(layout.tags(name))]
        for found in read_selected(self._content, keys[::-1]):
            same = name is None or found.reference.flow == name
            if found.reference.digest == digest and same:
                return found
        return None

    def _by_digest_anywhere(self, ref: Ref) -> Selected:
        if ref.full_digest is not None and (found := self._leased(ref.full_digest, None)):
            return found
        keys = [info.key for info in self._store.list() if layout.is_reference(info.key)]
        found = _only(
            ref, [each for each in read_selected(self._content, keys) if _matches(each, ref)]
        )
        if found is None:
            raise self._unknown(ref)
        return found

    def _unknown(self, ref: Ref) -> NotFoundError:
        hint = "`casflow log` lists the versions of a name"
        return NotFoundError(f"no such name or version in {self._store.url}", where=ref, hint=hint)

    def claim_number(self, name: str, after: int) -> int:
        """Return a number that no version of a name has had; it is taken from now on.

        Args:
            name: The name.
            after: Number of the newest version that is known.
        """
        number = after + 1
        for _ in range(_ATTEMPTS):
            try:
                self._store.create(layout.version(name, number), b"")
            except ConflictError:
                taken = [_last_number(info) for info in self._store.list(layout.versions(name))]
                number = max([number, *taken]) + 1
            else:
                return number
        raise ConflictError("others push versions of the name at the same time", where=name)


def _age(info: ObjectInfo) -> tuple[float, str]:
    return info.modified, info.key


def _matches(selected: Selected, ref: Ref) -> bool:
    return hex_of(selected.reference.digest).startswith(str(ref.digest))


def _only(ref: Ref, found: Sequence[Selected]) -> Selected | None:
    digests = sorted({each.reference.digest for each in found})
    if len(digests) > 1:
        hint = (
            f"write more digits of {' or '.join(each[: len(PREFIX) + 16] for each in digests[:3])}"
        )
        raise ConfigError("several versions have these digits", where=ref, hint=hint)
    return found[0] if found else None


def _last_number(info: ObjectInfo) -> int:
    number = info.key.rpartition("/")[2]
    return int(number) if number.isdecimal() and len(number) < len(str(MAX_VERSION)) else 0
