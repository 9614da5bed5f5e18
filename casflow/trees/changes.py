"""Changes between two trees, file by file, in git's letters.

Owns the comparison of listings. Invariant: two listings are equal exactly when there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from casflow.trees.listing import Listing

ADDED = "A"
DELETED = "D"
MODIFIED = "M"
TYPE_CHANGED = "T"


@dataclass(frozen=True, slots=True)
class Change:
    """One file that differs: `A` is new, `D` is gone, `M` is changed, `T` is of another kind."""

    letter: str
    path: str

    def __str__(self) -> str:
        return f"{self.letter}\t{self.path}"

    def to_dict(self) -> dict[str, str]:
        """Return the JSON form."""
        return {"change": self.letter, "path": self.path}


def changes(before: Listing, after: Listing) -> list[Change]:
    """Return what must be done to the first tree to make it the second, sorted by path."""
    found = []
    for path in sorted({*before.by_path, *after.by_path}, key=str.encode):
        old, new = before.by_path.get(path), after.by_path.get(path)
        if old is None:
            found.append(Change(ADDED, path))
        elif new is None:
            found.append(Change(DELETED, path))
        elif old != new:
            found.append(Change(MODIFIED if old.kind == new.kind else TYPE_CHANGED, path))
    return found
