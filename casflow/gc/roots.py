"""Pins and the trash: roots besides the live references.

Owns how a reference becomes a pin, goes to the trash and comes back. Invariant: the new reference
is created under the writer's protocol before the old one is deleted, so a root may stand twice for
a moment but never not at all.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from casflow.blobs import layout
from casflow.blobs.base import check_key
from casflow.errors import ConfigError, ConflictError, NotFoundError
from casflow.gc.scan import Scan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casflow.blobs.content import ContentStore
    from casflow.gc.scan import Found
    from casflow.reference import Reference


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
    """Move a live reference to the trash; nothing happens when it is gone already."""
    try:
        reference = content.get_reference(key)
    except NotFoundError:  # another collector was faster
        return
    with suppress(ConflictError):  # a run that died had come this far
        content.copy(reference, layout.trash(key))
    content.store.delete(key)


def undelete(content: ContentStore, key: str) -> Reference:
    """Bring a reference back from the trash.

    Args:
        content: The store.
        key: Where it stood, and stands again.

    Raises:
        NotFoundError: It is not in the trash.
    """
    if not layout.is_reference(key):
        raise ConfigError("not the key of a reference", where=key, hint="write <slug>/<timestamp>")
    reference = content.get_reference(layout.trash(key))
    try:
        restored = content.copy(reference, key)
    except ConflictError:  # never quite gone
        restored = content.get_reference(key)
    content.store.delete(layout.trash(key))
    return restored


def trashed(content: ContentStore, flow: str | None = None) -> Iterator[Found]:
    """Yield what is in the trash, of one flow or of all; keys as they stood before."""
    for found in Scan(content.store).trash():
        if flow is None or found.reference.flow == flow:
            yield found._replace(key=found.key.removeprefix(layout.TRASH))
