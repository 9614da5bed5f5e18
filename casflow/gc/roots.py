"""Pins and the trash: roots besides the live references.

Owns how a reference becomes a pin, goes to the trash and comes back. Invariant: the new reference
is created under the writer's protocol before the old one is deleted, so a root may stand twice for
a moment but never not at all; and no key is created twice, not that of a pin either, so a collector
that decided long ago deletes nothing that came back since.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from secrets import token_hex
from typing import TYPE_CHECKING

from casflow.blobs import layout
from casflow.blobs.base import check_key
from casflow.blobs.draft import Commit
from casflow.errors import ConfigError, ConflictError, IntegrityError, NotFoundError
from casflow.gc.scan import Scan
from casflow.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casflow.blobs.content import ContentStore
    from casflow.gc.scan import Found

RESTORED = "restored"  # in a reference that came back: the key that it had before


def pin(content: ContentStore, key: str, name: str, *, dry_run: bool = False) -> Reference:
    """Keep what the reference at a key names, whatever retention says.

    Args:
        content: The store.
        key: The key.
        name: Name of the pin.
        dry_run: Write nothing; raise what a pin would raise.

    Raises:
        NotFoundError: There is no reference at the key.
        ConflictError: A pin of that name holds something else.
    """
    check_key(name)
    reference = content.get_reference(key)
    for found in _pins_of(content, name, reference):
        if content.is_settled(found.key, found.reference):
            return found.reference
    if dry_run:
        return reference
    at = layout.pin(name, token_hex(8))
    made = content.copy(reference, at)
    try:
        list(_pins_of(content, name, reference))  # somebody else may have pinned meanwhile
    except ConflictError:
        content.store.delete(at)
        raise
    return made


def unpin(content: ContentStore, name: str) -> Reference | None:
    """Remove a pin; return what it held, or None if that cannot be read.

    Raises:
        NotFoundError: There is no pin of that name.
    """
    held, keys = None, _pin_keys(content, name)
    for key in keys:  # several if several pinned the same at once
        with suppress(NotFoundError, IntegrityError):
            held = content.get_reference(key)
        content.store.delete(key)
    if not keys:
        raise NotFoundError("no such pin", where=name, hint="casflow pin lists them")
    return held


def is_pin(content: ContentStore, name: str) -> bool:
    """Tell whether there is a pin of a name."""
    return bool(_pin_keys(content, name))


def pins(content: ContentStore) -> Iterator[Found]:
    """Yield the pins that can be read, by their names instead of their keys."""
    for found in Scan(content.store).pins():
        yield found._replace(key=layout.pin_name(found.key))


def _pin_keys(content: ContentStore, name: str) -> list[str]:
    infos = content.store.list(layout.pins(check_key(name)))
    return [info.key for info in infos if layout.pin_name(info.key) == name]


def _pins_of(content: ContentStore, name: str, reference: Reference) -> Iterator[Found]:
    """Yield the pins of a name, which must all hold the same.

    Raises:
        ConflictError: One holds something else.
    """
    for found in Scan(content.store).pins():
        if layout.pin_name(found.key) != name:
            continue
        there = found.reference
        if not (there.same_content(reference) and there.created == reference.created):
            hint = "unpin it first, or choose another name"
            raise ConflictError("the pin holds something else", where=name, hint=hint)
        yield found


def discard(content: ContentStore, key: str) -> None:
    """Move a live reference to the trash; nothing happens when it is gone already.

    One that cannot be read, or whose blobs are nowhere, is moved as it is: there is nothing left
    of it that a collector could take. When another collector has put it into the trash, but might
    take it back from there, it stays for the next run.
    """
    try:
        data = content.store.get(key)
    except NotFoundError:  # another collector was faster
        return
    try:
        reference = Reference.from_bytes(data, where=content.store.location(key))
        content.copy(reference, layout.trash(key))
    except ConflictError:
        if not _is_settled_in_trash(content, key):
            return
    except IntegrityError:
        with suppress(ConflictError):
            content.store.create(layout.trash(key), data)
    content.store.delete(key)


def _is_settled_in_trash(content: ContentStore, key: str) -> bool:
    try:
        reference = content.get_reference(layout.trash(key))
    except (NotFoundError, IntegrityError):
        return False
    return content.is_settled(layout.trash(key), reference)


def undelete(content: ContentStore, key: str) -> Commit:
    """Bring a reference back from the trash, as a new one.

    The entry of the trash stays until its time is over: a collector may have decided to end it.

    Args:
        content: The store.
        key: Where it stood.

    Returns:
        The new reference; the one that an earlier call made, if it still stands.

    Raises:
        NotFoundError: It is not in the trash.
        IntegrityError: It cannot be read, or its blobs are nowhere.
    """
    if not layout.is_reference(key):
        raise ConfigError("not the key of a reference", where=key, hint="write <slug>/<timestamp>")
    reference = content.get_reference(layout.trash(key))
    restored = replace(reference, extra={**reference.extra, RESTORED: key})
    for other in reversed(content.reference_keys(reference.flow)):
        with suppress(NotFoundError, IntegrityError):
            there = content.get_reference(other)
            same = there.extra.get(RESTORED) == key and there.same_content(reference)
            if same and content.is_settled(other, there):
                return Commit(other, there)
    return content.renew(restored)


def trashed(content: ContentStore, flow: str | None = None) -> Iterator[Found]:
    """Yield what is in the trash, of one flow or of all; keys as they stood before."""
    for found in Scan(content.store).trash():
        if flow is None or found.reference.flow == flow:
            yield found._replace(key=found.key.removeprefix(layout.TRASH))
