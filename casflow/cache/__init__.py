"""This machine's cache: blobs by digest in plain files, an index beside them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from casflow import config
from casflow.cache.cache import Cache, Entry, Fetched

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Cache", "Entry", "Fetched", "default"]


def default() -> Cache:
    """Return the cache that the settings of this process name."""
    settings = config.load()
    return _open(settings.cache_dir, settings.cache_limit)


@lru_cache(maxsize=4)
def _open(root: Path, limit: int) -> Cache:
    return Cache(root, limit)
