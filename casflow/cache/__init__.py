"""This machine's cache: blobs by digest in plain files, and an index beside them."""

from casflow import config
from casflow.cache.files import Cache, Entry, Fetched

__all__ = ["Cache", "Entry", "Fetched", "default"]


def default() -> Cache:
    """Return the cache that the settings of this process name."""
    settings = config.load()
    return Cache(settings.cache_dir, settings.cache_limit)
