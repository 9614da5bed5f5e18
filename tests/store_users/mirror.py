"""A mirror: everything that has a tag in one store is brought to another, and checked.

python mirror.py SOURCE TARGET
"""

from __future__ import annotations

import sys

import casflow
from casflow.errors import CasflowError


def mirror(source: casflow.Store, target: casflow.Store) -> int:
    """Copy all tagged versions; return how many were not there before."""
    new = 0
    for name in source.names():
        for tag, version in sorted(source.tags(name).items()):
            copied = source.copy(version, target)
            new += copied.is_new
            target.tag(copied, tag)
            assert target.listing(f"{name}@{tag}") == source.listing(version)
    if not target.verify(1.0).clean:
        raise CasflowError("the mirror is damaged", where=target.url)
    return new


if __name__ == "__main__":
    print(mirror(casflow.Store(sys.argv[1]), casflow.Store(sys.argv[2])))
