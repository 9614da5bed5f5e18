"""HTTP for everything that speaks it: git hosts, webhooks and image registries.

`send` makes one request and returns its whole answer; `check` turns an answer that is no success
into an error; `read_object` and the functions beside it read JSON with types; `read_pages` follows
a list over its pages. Invariant: every request is bounded in attempts, in time and in bytes; a
credential goes to the scheme, host and port that it was meant for and to no other.
"""

from __future__ import annotations

from casflow.http.answer import Answer
from casflow.http.auth import Credential, basic, bearer
from casflow.http.client import send
from casflow.http.conditional import NOT_MODIFIED, etag_of, if_none_match
from casflow.http.errors import check
from casflow.http.pages import read_pages
from casflow.http.parsing import items, member, read_object
from casflow.http.retry import seconds_for

__all__ = [
    "NOT_MODIFIED",
    "Answer",
    "Credential",
    "basic",
    "bearer",
    "check",
    "etag_of",
    "if_none_match",
    "items",
    "member",
    "read_object",
    "read_pages",
    "seconds_for",
    "send",
]
