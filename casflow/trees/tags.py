"""Tags: names of the versions of a name, and the moves by which they come to mean others.

Owns the moves of tags. Invariant: a tag's moves are created one after the other and never changed,
so the present value is the last, the history is complete, and of two processes that move a tag at
once one is told so.
"""

from __future__ import annotations

import getpass
import logging
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from casflow import signing
from casflow.blobs import layout
from casflow.errors import ConflictError, IntegrityError, NotFoundError, did_you_mean
from casflow.refs import check_tag
from casflow.trees.selected import Selected, counter_of, number_of, read_selected
from casflow.trees.signatures import signed_move

if TYPE_CHECKING:
    from casflow.blobs.content import ContentStore
    from casflow.reference import Reference
    from casflow.signing import SigningKey
    from casflow.trees.signatures import Signatures

logger = logging.getLogger(__name__)

MOVE_KEYS = ("tag", "counter", "by", "at", "before")  # of a move of a tag, in its reference
_ATTEMPTS = 50  # of moves that others make at the same time


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


class Tags:
    """The tags in one store.

    Args:
        content: The store.
        signatures: What is signed there.
    """

    def __init__(self, content: ContentStore, signatures: Signatures) -> None:
        self._content = content
        self._store = content.store
        self._signatures = signatures

    def find(self, name: str, tag: str) -> Selected:
        """Return what a tag of a name names now.

        Raises:
            NotFoundError: There is no such tag.
        """
        moves = self._moves(name, tag)
        if not moves:
            raise self._no_tag(name, tag)
        return Selected(moves[-1], self._content.get_reference(moves[-1]))

    def all(self, name: str) -> dict[str, Selected]:
        """Return what each tag of a name names now."""
        last: dict[str, str] = {}
        for info in self._store.list(layout.tags(name)):
            if (parsed := layout.parse_tag_move(info.key)) is not None:
                last[parsed[0]] = max(last.get(parsed[0], ""), info.key)
        return {
            _tag_of(each.key): each for each in read_selected(self._content, sorted(last.values()))
        }

    def history(self, name: str, tag: str) -> list[TagMove]:
        """Return the moves of a tag, newest first.

        Raises:
            NotFoundError: There is no such tag.
        """
        moves = [
            _move(each.reference, name, each.key)
            for each in read_selected(self._content, self._moves(name, tag))
        ]
        if not moves:
            raise self._no_tag(name, tag)
        return moves[::-1]

    def find_move(self, move: TagMove) -> Selected:
        """Return the reference of a move of a tag.

        Raises:
            NotFoundError: There is no such move.
        """
        key = layout.tag_move(move.name, move.tag, move.counter)
        return Selected(key, self._content.get_reference(key))

    def move(
        self,
        selected: Selected,
        tag: str,
        *,
        by: str | None = None,
        key: SigningKey | None = None,
        dry_run: bool = False,
    ) -> TagMove:
        """Let a tag name a version from now on; no move is written when it does already.

        Args:
            selected: The version.
            tag: The tag.
            by: Who moves it; this user, when left out.
            key: Signs the move, also one that was there already.
            dry_run: Write nothing; the move that is returned is what would be written.

        Raises:
            ConflictError: Others moved the tag at the same time.
        """
        name = selected.reference.flow
        for _ in range(_ATTEMPTS):
            moves = self._moves(name, check_tag(tag))
            last = self._last_move(moves)
            counter = counter_of(moves[-1]) if moves else 0
            seen = 0 if key is None else self._seen(name, tag, counter)
            if last is not None and counter >= seen and _same_version(last, selected.reference):
                if key is not None and not dry_run:
                    self._signatures.sign(Selected(moves[-1], last), key, tag)
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
            if dry_run:
                return _move(marked, name, place)
            prepare = None
            if key is not None:
                prepare = self._signatures.prepare(
                    marked, key, signed_move(Selected(place, marked), tag)
                )
            try:
                return _move(self._content.copy(marked, place, prepare=prepare), name, place)
            except ConflictError:  # another move was first; look at what it says
                continue
        raise ConflictError("others move the tag at the same time", where=f"{name}@{tag}")

    def _no_tag(self, name: str, tag: str) -> NotFoundError:
        hint = did_you_mean(tag, self.all(name), f"`casflow tag {name}` lists the tags of the name")
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

    def _seen(self, name: str, tag: str, counter: int) -> int:
        """Return the newest move of a tag that was seen here, and say what is lost since."""
        seen = self._signatures.newest_move(name, tag)
        if seen > counter:
            logger.warning(
                "%s@%s: move %d was seen, and is not in the store; the tag goes on from there",
                *(name, tag, seen),
            )
        return seen


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
            counter=counter_of(key),
            before=None if before is None else str(before),
            after=reference.digest,
            version=number_of(reference),
            by=str(extra.get("by", "")),
            at=datetime.fromisoformat(str(extra["at"])),
        )
    except (KeyError, ValueError) as error:
        raise IntegrityError(f"a damaged move of a tag ({error!r})", where=key) from error


def _tag_of(key: str) -> str:
    return key.split("/")[-2]


def _current_user() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no entry for this user
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
