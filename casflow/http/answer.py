"""An answer whose body was read.

Invariant: the body is no longer than the limit of the request, and the connection that it came by
is free again.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request.

    Attributes:
        status: Its status code.
        reason: The words of its status line.
        headers: Its headers; names are found in any case.
        url: Address that answered, after redirects.
        body: Its body; empty when it was written to a file.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    url: str
    body: bytes = b""

    @property
    def is_error(self) -> bool:
        """Whether the request failed."""
        return self.status >= 400  # noqa: PLR2004 - where the statuses of failures begin

    @property
    def text(self) -> str:
        """The body as UTF-8, with a mark for what is none."""
        return self.body.decode(errors="replace")

    @property
    def date(self) -> float | None:
        """Seconds since the epoch by the host's clock, or None when it does not tell."""
        return moment_of(self.headers.get("Date", ""))


def moment_of(text: str) -> float | None:
    """Return the seconds since the epoch that an HTTP date names, or None when it is none."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
