"""Versions: the numbered references of a name in one store, and the tags that name them.

Owns the road from a ref to a reference, how versions get their numbers, and the moves of tags.
Invariant: a number is given to one version of a name and never again; a tag's moves are created
one after the other and never changed, so the present value is the last, the history is complete,
and of two processes that move a tag at once one is told so.

The newest version is the one whose reference the store wrote last, by the store's own clock.
"""

from __future__ import annotations

import getpass
import logging
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from casflow import signing
from casflow.blobs import layout
from casflow.blobs.concurrent import run_concurrently
from casflow.digests import PREFIX, hex_of
from casflow.errors import ConfigError, ConflictError, IntegrityError, NotFoundError, did_you_mean
from casflow.refs import Ref, check_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from casflow.blobs.base import ObjectInfo
    from casflow.blobs.content import ContentStore
    from casflow.reference import Reference
    from casflow.signing import Move, Signed, SigningKey, Verifier

logger = logging.getLogger(__name__)

DATA = "application/octet-stream"
MOVE_KEYS = ("tag", "counter", "by", "at", "before")  # of a move of a tag, in its reference
VERSION = "version"  # key of the number in a reference
FILES, BYTES = "files", "bytes"  # the same, of how much a tree holds; for people, never relied on
_ATTEMPTS = 50  # of numbers and moves that others take at the same time
_MAX_VERSION = 10**9


@dataclass(frozen=True, slots=True)
class Selected:
    """A reference that a ref led to, and the key where it stands."""

    key: str
    reference: Reference

    @property
    def number(self) -> int:
        """Number of the version; 0 for a reference that has none."""
        return number_of(self.reference)


@dataclass(frozen=True, slots=True)
class TagMove:
    """One move of a tag.

    Attributes:
        name: The name whose version the tag is on.
        tag: The tag.
        counter: Number of the move, from 1.
        before: Digest that the tag named before, or None.
        after: Digest that it names from then on.
        version: Number of that version.
        by: Who moved it, as `user@host`.
        at: When, by that machine's clock.
    """

    name: str
    tag: str
    counter: int
    before: str | None
    after: str
    version: int
    by: str
    at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        form = {each: getattr(self, each) for each in self.__slots__}
        return {**form, "at": self.at.isoformat()}


def number_of(reference: Reference) -> int:
    """Return the number of a version; 0 for a reference that has none."""
    number = reference.extra.get(VERSION)
    return number if type(number) is int and 0 < number < _MAX_VERSION else 0


def count_of(reference: Reference, what: str) -> int | None:
    """Return how many files or bytes the tree of a reference holds; None where it does not say."""
    count = reference.extra.get(what)
    return count if type(count) is int and count >= 0 else None


class Versions:
    """The versions and tags in one store.

    Args:
        content: The store.
        verifier: Gives what holds names to this machine's policy; when left out nothing does, as
            is right for whoever only looks at what is there.
    """

    def __init__(
        self, content: ContentStore, verifier: Callable[[], Verifier] | None = None
    ) -> None:
        self._content = content
        self._store = content.store
        self._verifier = verifier

    # ---- reading ---------------------------------------------------------------------------

    def select(self, ref: Ref) -> Selected:
        """Return the reference that a ref means now: the one place where names become digests.

        Raises:
            NotFoundError: There is none.
            ConfigError: Several have the digits that were given.
            SignatureError: It is not signed as this machine's policy asks.
        """
        found = self.find(ref)
        is_named = ref.tag is not None or found.reference.flow == ref.name
        self.verify(ref.name if is_named else None, found, ref.tag)
        return found

    def verify(self, name: str | None, selected: Selected, tag: str | None = None) -> None:
        """Make sure that this machine's policy lets a name, or a tag of it, mean a reference.

        Args:
            name: The name that was asked for, or None for a bare digest.
            selected: What it led to.
            tag: The tag that was asked for.

        Raises:
            SignatureError: It does not.
        """
        if self._verifier is None:
            return
        verifier, reference = self._verifier(), selected.reference
        texts = partial(signing.read_signatures, self._store, reference.digest)
        if tag is None:
            remedy = f"sign it: casflow sign {reference.flow}@{reference.digest}"
            verifier.check(name, reference, texts, remedy)
            return
        verifier.check_move(
            self._store.url, str(name), reference, _signed_move(selected, tag), texts
        )

    def find(self, ref: Ref) -> Selected:
        """Return what the store says that a ref means, whoever said so; see `select`."""
        if ref.name is None:
            return self._by_digest_anywhere(ref)
        if ref.tag is not None:
            return self._by_tag(ref.name, ref.tag)
        found = self._in_folder(ref)
        if found is None and ref.text == ref.name and ref.digest is not None:
            return self._by_digest_anywhere(ref)
        if found is None:
            raise self._unknown(ref)
        return found

    def newest(self, name: str) -> Selected | None:
        """Return the newest version of a name, or None when it has none."""
        return self._first(name, lambda _: True)

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
        for each in self._read([info.key for info in last.values()]):
            found.add(each.reference.flow)
            if not each.number:  # a flow's; a version of the name may stand beside it
                found.discard(each.reference.flow)
                keys = self._keys(each.reference.flow)
                found |= {some.reference.flow for some in self._read(keys) if some.number}
        return sorted(found)

    def _keys(self, name: str) -> list[str]:
        infos = self._store.list(layout.folder(name))
        references = [info for info in infos if layout.is_reference(info.key)]
        return [info.key for info in sorted(references, key=_age, reverse=True)]

    def _first(self, name: str, is_wanted: Callable[[Selected], bool]) -> Selected | None:
        keys = self._keys(name)
        for some in (keys[:1], *_chunks(keys[1:], self._store.parallel)):
            for found in self._named(name, some):
                if is_wanted(found):
                    return found
        return None

    def _named(self, name: str, keys: Sequence[str]) -> list[Selected]:
        return [each for each in self._read(keys) if each.reference.flow == name and each.number]

    def _read(self, keys: Sequence[str]) -> Iterator[Selected]:
        for some in _chunks(keys, max(self._store.parallel, 4)):
            calls = [partial(self._find, key) for key in some]
            yield from (each for each in run_concurrently(*calls) if each is not None)

    def _find(self, key: str) -> Selected | None:
        try:
            return Selected(key, self._content.get_reference(key))
        except NotFoundError:  # retention took it meanwhile
            return None

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
        for found in self._read(keys[::-1]):
            same = name is None or found.reference.flow == name
            if found.reference.digest == digest and same:
                return found
        return None

    def _by_digest_anywhere(self, ref: Ref) -> Selected:
        if ref.full_digest is not None and (found := self._leased(ref.full_digest, None)):
            return found
        keys = [info.key for info in self._store.list() if layout.is_reference(info.key)]
        found = _only(ref, [each for each in self._read(keys) if _matches(each, ref)])
        if found is None:
            raise self._unknown(ref)
        return found

    def _unknown(self, ref: Ref) -> NotFoundError:
        hint = "`casflow log` lists the versions of a name"
        return NotFoundError(f"no such name or version in {self._store.url}", where=ref, hint=hint)

    # ---- numbers ---------------------------------------------------------------------------

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

    # ---- tags ------------------------------------------------------------------------------

    def _by_tag(self, name: str, tag: str) -> Selected:
        moves = self._moves(name, tag)
        if not moves:
            raise self._no_tag(name, tag)
        return Selected(moves[-1], self._content.get_reference(moves[-1]))

    def _no_tag(self, name: str, tag: str) -> NotFoundError:
        hint = did_you_mean(
            tag, self.tags(name), f"`casflow tag {name}` lists the tags of the name"
        )
        return NotFoundError(f"no such tag in {self._store.url}", where=f"{name}@{tag}", hint=hint)

    def _moves(self, name: str, tag: str) -> list[str]:
        prefix = layout.tag_move(name, check_tag(tag), 0).rpartition("/")[0] + "/"
        keys = (info.key for info in self._store.list(prefix))
        return [key for key in keys if layout.parse_tag_move(key) is not None]

    def _last_move(self, moves: list[str]) -> Reference | None:
        """Return the last of a tag's moves, or None if it is damaged: the next heals it."""
        with suppress(IntegrityError):
            return self._content.get_reference(moves[-1]) if moves else None
        return None

    def move_tag(
        self,
        selected: Selected,
        tag: str,
        *,
        by: str | None = None,
        key: SigningKey | None = None,
    ) -> TagMove:
        """Let a tag name a version from now on; no move is written when it does already.

        Args:
            selected: The version.
            tag: The tag.
            by: Who moves it; this user, when left out.
            key: Signs the move, also one that was there already.

        Raises:
            ConflictError: Others moved the tag at the same time.
        """
        name = selected.reference.flow
        for _ in range(_ATTEMPTS):
            moves = self._moves(name, check_tag(tag))
            last = self._last_move(moves)
            counter = _counter(moves[-1]) if moves else 0
            seen = 0 if key is None else self._seen(name, tag, counter)
            if last is not None and counter >= seen and _same_version(last, selected.reference):
                if key is not None:
                    self.sign(Selected(moves[-1], last), key, tag)
                return _move(last, name, moves[-1])
            counter = max(counter, seen) + 1
            move = {
                "tag": tag,
                "counter": counter,
                "by": by or _current_user(),
                "at": datetime.now(UTC).isoformat(timespec="microseconds"),
                "before": None if last is None else last.digest,
            }
            given = selected.reference.extra
            kept = {name: given[name] for name in given if name not in MOVE_KEYS}
            marked = replace(selected.reference, extra={**kept, **move})
            place = layout.tag_move(name, tag, counter)
            prepare = None
            if key is not None:
                prepare = self.prepare_signature(
                    marked, key, _signed_move(Selected(place, marked), tag)
                )
            try:
                return _move(self._content.copy(marked, place, prepare=prepare), name, place)
            except ConflictError:  # another move was first; look at what it says
                continue
        raise ConflictError("others move the tag at the same time", where=f"{name}@{tag}")

    # ---- signatures ------------------------------------------------------------------------

    def sign(self, selected: Selected, key: SigningKey, tag: str | None = None) -> None:
        """Sign a version, or the move of a tag, unless the key has done so before.

        Args:
            selected: The version, or the move.
            key: The key.
            tag: The tag, when it is the move that is signed.
        """
        reference = selected.reference
        statement = signing.Statement.of(
            reference, None if tag is None else _signed_move(selected, tag)
        )
        signed = signing.signed_anew(statement, key, self._signatures(reference))
        if signed is not None:
            self._write_signature(signed, reference)

    def prepare_signature(
        self, reference: Reference, key: SigningKey, move: Move | None = None
    ) -> Callable[[Reference], None]:
        """Sign what a reference will say; return what writes the signature beside its blob."""
        return partial(
            self._write_signature, key.signed(signing.Statement.of(reference, move).now())
        )

    def signatures(self, selected: Selected, tag: str | None = None) -> list[Signed]:
        """Return the signatures of a version, or of the move of a tag; nobody checked them yet."""
        move = None if tag is None else _signed_move(selected, tag)
        reference = selected.reference
        return signing.find_signatures(
            self._signatures(reference), signing.Statement.of(reference, move)
        )

    def has_signatures(self) -> bool:
        """Tell whether anything in the store is signed."""
        return any(True for _ in self._store.list(layout.SIGNATURES))

    def find_move(self, move: TagMove) -> Selected:
        """Return the reference of a move of a tag.

        Raises:
            NotFoundError: There is no such move.
        """
        key = layout.tag_move(move.name, move.tag, move.counter)
        return Selected(key, self._content.get_reference(key))

    def carry_signatures(self, reference: Reference, other: Versions, to: Reference) -> None:
        """Write what was signed of a reference beside the same one in another store."""
        content = signing.Statement.of(to)
        for signed in signing.readable_signatures(self._signatures(reference)):
            if signed.statement.content == content:
                other._write_signature(signed, to)

    def _seen(self, name: str, tag: str, counter: int) -> int:
        """Return the newest move of a tag that was seen here, and say what is lost since."""
        if self._verifier is None:
            return 0
        seen = self._verifier().newest_move(self._store.url, name, tag)
        if seen > counter:
            logger.warning(
                "%s@%s: move %d was seen, and is not in the store; the tag goes on from there",
                *(name, tag, seen),
            )
        return seen

    def _signatures(self, reference: Reference) -> list[bytes]:
        return signing.read_signatures(self._store, reference.digest)

    def _write_signature(self, signed: Signed, reference: Reference) -> None:
        signing.write_signature(self._store, reference.blob, signed)

    def tags(self, name: str) -> dict[str, Selected]:
        """Return what each tag of a name names now."""
        last: dict[str, str] = {}
        for info in self._store.list(layout.tags(name)):
            if (parsed := layout.parse_tag_move(info.key)) is not None:
                last[parsed[0]] = max(last.get(parsed[0], ""), info.key)
        return {_tag_of(each.key): each for each in self._read(sorted(last.values()))}

    def history(self, name: str, tag: str) -> list[TagMove]:
        """Return the moves of a tag, newest first.

        Raises:
            NotFoundError: There is no such tag.
        """
        moves = [
            _move(each.reference, name, each.key) for each in self._read(self._moves(name, tag))
        ]
        if not moves:
            raise self._no_tag(name, tag)
        return moves[::-1]


def _age(info: ObjectInfo) -> tuple[float, str]:
    return info.modified, info.key


def _chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


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
    return int(number) if number.isdecimal() and len(number) < len(str(_MAX_VERSION)) else 0


def _counter(key: str) -> int:
    parsed = layout.parse_tag_move(key)
    return 0 if parsed is None else parsed[1]


def _tag_of(key: str) -> str:
    return key.split("/")[-2]


def _same_version(one: Reference, other: Reference) -> bool:
    return number_of(one) == number_of(other) and signing.same_statement(one, other)


def _move(reference: Reference, name: str, key: str) -> TagMove:
    extra = reference.extra
    if extra.get("tag") != _tag_of(key) or reference.flow != name:
        raise IntegrityError("a tag that was moved for another name", where=key)
    try:
        before = extra.get("before")
        return TagMove(
            name=name,
            tag=_tag_of(key),
            counter=_counter(key),
            before=None if before is None else str(before),
            after=reference.digest,
            version=number_of(reference),
            by=str(extra.get("by", "")),
            at=datetime.fromisoformat(str(extra["at"])),
        )
    except (KeyError, ValueError) as error:
        raise IntegrityError(f"a damaged move of a tag ({error!r})", where=key) from error


def _signed_move(selected: Selected, tag: str) -> Move:
    """Return what a signature has to say of a move: the number of its key, not what it claims."""
    before = selected.reference.extra.get("before")
    return signing.Move(tag, _counter(selected.key), None if before is None else str(before))


def _current_user() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no entry for this user
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
