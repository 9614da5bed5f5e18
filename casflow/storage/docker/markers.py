"""Markers on images that nobody needs: tags, since a registry keeps nothing else for us.

Owns the form of these tags. Invariant: from the moment that a marker is set nobody gives the image
a further name; a dated marker names a moment at which the image was marked already. A marker goes
with its image.
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


def dated(digest: str, seconds: float) -> str:
    """Return the tag which says that the image was condemned by some second since the epoch."""
    return f"{marker(digest)}-{int(seconds) + 1}"


def is_condemned(tags: Iterable[str], digest: str) -> bool:
    """Tell whether an image of a repository with these tags is condemned."""
    return marker(digest) in tags


def condemned_by(tags: Iterable[str], digest: str) -> int | None:
    """Return the earliest second by which an image was condemned, or None if no tag tells."""
    start = f"{marker(digest)}-"
    ends = [tag.removeprefix(start) for tag in tags if tag.startswith(start)]
    return min((int(end) for end in ends if end.isdecimal()), default=None)
