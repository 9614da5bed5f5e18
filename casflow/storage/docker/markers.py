"""Tags that mark an image as condemned.

Owns the form of these tags. Invariant: once the marker tag is set, no writer gives the image a
further name; the dated tag names a time at which the marker was already set. Deleting the image
deletes its markers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BY_INPUTS = "inputs-"  # what the tags begin with that find an image by its inputs
CONDEMNED = "condemned-"
_SHORT = 32  # hexadecimal digits of a digest in a tag


def marker(digest: str) -> str:
    """Return the tag that condemns the image of a manifest's digest."""
    return f"{CONDEMNED}{digest.removeprefix('sha256:')[:_SHORT]}"


def condemned_at_tag(digest: str, seconds: float) -> str:
    """Return the tag which says that the image was condemned by some second since the epoch."""
    return f"{marker(digest)}-{int(seconds) + 1}"


def is_condemned(tags: Iterable[str], digest: str) -> bool:
    """Tell whether an image of a repository with these tags is condemned."""
    return marker(digest) in tags


def condemned_at(tags: Iterable[str], digest: str) -> int | None:
    """Return the earliest second by which an image was condemned, or None if no tag tells."""
    start = f"{marker(digest)}-"
    ends = [tag.removeprefix(start) for tag in tags if tag.startswith(start)]
    return min((int(end) for end in ends if end.isdecimal()), default=None)
