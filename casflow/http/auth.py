"""What a request is signed with.

Invariant: a request carries the credential that its caller gave it, and never one that a `.netrc`
file holds for the host.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from casflow.secrets import remember

if TYPE_CHECKING:
    from requests import PreparedRequest


class Credential:
    """Adds an `Authorization` header to a request; without one, adds nothing."""

    def __init__(self, header: str | None = None) -> None:
        self._header = header

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the header."""
        if self._header is not None:
            request.headers["Authorization"] = self._header
        return request


def bearer(token: str | None) -> Credential:
    """Return the credential of a token, or of nobody."""
    return Credential(None if token is None else f"Bearer {token}")


def basic(user: str, password: str) -> Credential:
    """Return the credential of a user and a password."""
    coded = base64.b64encode(f"{user}:{password}".encode()).decode()
    remember(coded)
    return Credential(f"Basic {coded}")
