"""Pins and the trash: roots besides the live references.

Owns how a reference becomes a pin, goes to the trash and comes back. Invariant: the new reference
is created under the writer's protocol before the old one is deleted, so a root may stand twice for
a moment but never not at all; and no key is created twice, so a collector that decided long ago
deletes nothing that came back since.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
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


def pin(content: ContentStore, key: str, name: str) -> Reference:
    """Keep what the reference at a key names, whatever retention says.

    Raises:
        NotFoundError: There is no reference at the key.
        ConflictError: A pin of that name holds something else.
    """
    check_key(name)
    reference = content.get_reference(key)
    try:
        return content.copy(reference, layout.pin(name))
    except ConflictError as error:
        there = content.get_reference(layout.pin(name))
        if there.same_content(reference) and there.created == reference.created:
            return there
        hint = "unpin it first, or choose another name"
        raise ConflictError("the pin holds something else", where=name, hint=hint) from error


def unpin(content: ContentStore, name: str) -> Reference:
    """Remove a pin; return what it held.

    Raises:
        NotFoundError: There is no pin of that name.
    """
    reference = content.get_reference(layout.pin(check_key(name)))
    content.store.delete(layout.pin(name))
    return reference


def pins(content: ContentStore) -> Iterator[Found]:
    """Yield the pins; their keys begin with `casflow.blobs.layout.PINS`."""
    return Scan(content.store).pins()


def discard(content: ContentStore, key: str) -> None:
    """Move a live reference to the trash; nothing happens when it is gone already.

    One that cannot be read, or whose blobs are nowhere, is moved as it is: there is nothing left
    of it that a collector could take.
    """
    try:
        data = content.store.get(key)
    except NotFoundError:  # another collector was faster
        return
    with suppress(ConflictError):  # a run that died had come this far
        try:
            reference = Reference.from_bytes(data, where=content.store.location(key))
            content.copy(reference, layout.trash(key))
        except IntegrityError:
            content.store.create(layout.trash(key), data)
    content.store.delete(key)


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
            if there.extra.get(RESTORED) == key and there.same_content(reference):
                return Commit(other, there)
    return content.renew(restored)


def trashed(content: ContentStore, flow: str | None = None) -> Iterator[Found]:
    """Yield what is in the trash, of one flow or of all; keys as they stood before."""
    for found in Scan(content.store).trash():
        if flow is None or found.reference.flow == flow:
            yield found._replace(key=found.key.removeprefix(layout.TRASH))
