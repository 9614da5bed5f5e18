"""Options of single stores: what every use of a bucket or container needs.

Owns which options there are, and which of them a store has. Invariant: none is a credential, and an
option that is not known, or of another type, is refused where the settings are read.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from casflow.errors import ConfigError, did_you_mean
from casflow.redaction import remember_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KINDS: dict[str, dict[str, type]] = {
    "s3": {
        **dict.fromkeys(("endpoint_url", "region_name", "profile_name"), str),
        "upload_options": dict,
        "exclusive_writer": bool,
    },
    "gs": {"project": str, "requester_pays": bool},
    "az": {"connection_string_secret": str},
}
_NAMES = {str: "text", dict: "a table", bool: "true or false"}
_exclusive_writer: ContextVar[bool] = ContextVar("casflow_exclusive_writer", default=False)


def read(value: Any, origin: str) -> dict[str, dict[str, Any]]:
    """Return options by the URL of their store: from a table of tables, or JSON of that form.

    Args:
        value: What the settings say.
        origin: Where, for messages.

    Raises:
        ConfigError: A URL or an option is not known, or an option is of another type.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict) or not all(isinstance(each, dict) for each in value.values()):
        hint = 'write [stores."s3://bucket"] with exclusive_writer = true below it, or JSON of that'
        raise ConfigError("stores is no table of stores", where=origin, hint=hint)
    for url, options in value.items():
        _check(url, options, origin)
    return value


def _check(url: str, options: Mapping[str, Any], origin: str) -> None:
    scheme, _, root = url.partition("://")
    if scheme not in _KINDS or not root.strip("/"):
        hint = "known are s3://, gs:// and az://, with a bucket or container"
        raise ConfigError(f"not the URL of a store: {url!r}", where=origin, hint=hint)
    known = _KINDS[scheme]
    for name, given in options.items():
        if name not in known:
            listed = f"known are {', '.join(sorted(known))}"
            hint = did_you_mean(name, known, listed) or listed
            raise ConfigError(f"{name!r} is no option of {url}", where=origin, hint=hint)
        if not isinstance(given, known[name]):
            raise ConfigError(f"{name} of {url} is not {_NAMES[known[name]]}", where=origin)
        remember_url(str(given))


def find(options: Mapping[str, Mapping[str, Any]], store: str) -> dict[str, Any]:
    """Return the options of a store: those of the longest URL that its own begins with."""
    named = [url for url in options if f"{store}/".startswith(f"{url.rstrip('/')}/")]
    found = dict(options[max(named, key=len)]) if named else {}
    is_promised = _exclusive_writer.get() and store.startswith("s3://")
    return {**found, "exclusive_writer": True} if is_promised else found


@contextmanager
def exclusive_writer() -> Iterator[None]:
    """Promise for all stores in the `with` block that nobody else writes to them meanwhile."""
    token = _exclusive_writer.set(True)
    try:
        yield
    finally:
        _exclusive_writer.reset(token)
