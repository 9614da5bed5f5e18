"""Conditional requests: an ETag goes back with the next question, and 304 says "unchanged"."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from casflow.http.answer import Answer

NOT_MODIFIED = 304
_LONGEST = 512  # characters of an ETag that is kept


def if_none_match(etag: str | None) -> dict[str, str]:
    """Return the header that asks only for what is not the content of an ETag."""
    return {} if etag is None else {"If-None-Match": etag}


def etag_of(answer: Answer) -> str | None:
    """Return the ETag of an answer, or None when it has none that can be sent back."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.isascii() and etag.isprintable() and 0 < len(etag) <= _LONGEST else None
