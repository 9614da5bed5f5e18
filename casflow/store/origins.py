"""Origins: what the private copies on this machine were made of.

Owns the note that a checkout leaves in the cache. Invariant: the folder itself is left clean, so a
push of it is the tree that was checked out; a note that is lost costs an answer, nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow import cache as caches

if TYPE_CHECKING:
    import os

    from casflow.cache import Cache


def remember_origin(
    cache: Cache, path: Path, *, store: str, name: str | None, version: int, digest: str
) -> None:
    """Let `origin_of` tell what a private copy was made of."""
    value = {"store": store, "name": name, "version": version, "digest": digest}
    cache.set_alias(_alias(path), json.dumps(value))


def origin_of(folder: str | os.PathLike[str], cache: Cache | None = None) -> dict[str, Any] | None:
    """Return store, name, version and digest that a private copy was made of, or None."""
    value = (cache or caches.default()).find_alias(_alias(Path(folder)))
    try:
        found: dict[str, Any] | None = None if value is None else json.loads(value)
    except ValueError:
        return None
    return found


def _alias(path: Path) -> str:
    return f"checkout {path.resolve()}"
