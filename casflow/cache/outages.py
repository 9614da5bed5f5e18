"""What is said when the cache cannot be used.

Owns the one warning of a process about a cache. Invariant: an outage of the cache is never an
error of the run that met it, and is reported once for each cache, with what failed and where.
"""

from __future__ import annotations

import logging

logger = logging.getLogger("casflow.cache")

_reported: set[str] = set()


def report(root: object, error: object) -> None:
    """Warn that a cache is not used, unless this process has done so before."""
    if str(root) not in _reported:
        _reported.add(str(root))
        logger.warning("the cache is not used: %s (%s)", root, error)
