"""When a request is tried again, and after how long.

Invariant: a request is sent at most `ATTEMPTS` times and not after its deadline; a wait that a
host asks for is kept, or the request is given up at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from casflow.http.answer import moment_of

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTEMPTS = 4
MAX_RETRY_AFTER = 30.0  # seconds that a host may ask to wait before a request is tried again
SECONDS = 120.0  # that one request may take by default, all attempts and redirects together
_RATE = 64 << 10  # bytes a second that a body has to come with, at least
_BACKOFF = 0.2  # seconds before the second attempt; twice as long before each further one
_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_FORBIDDEN = 403  # some hosts limit their callers with it, and say until when
_MAX_SECONDS = 400 * 86400.0  # seconds; a host that asks for more does not mean it


class Deadline:
    """A moment on this machine's monotonic clock.

    Args:
        seconds: How far it is away.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until then; not positive when it has passed."""
        return self._end - time.monotonic()


def seconds_for(size: int) -> float:
    """Return the seconds that a transfer of so many bytes may take."""
    return SECONDS + size / _RATE


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds after which a host that limits its callers answers again.

    What cannot be read as a wait counts as none.
    """
    after = headers.get("Retry-After", "").strip()
    if after and not after.removeprefix("-").isdecimal():
        moment = moment_of(after)
        return None if moment is None else _bounded(moment - now(headers))
    if after:
        return _bounded(float(after[:32]))
    if headers.get("X-RateLimit-Remaining") == "0":
        reset = headers.get("X-RateLimit-Reset", "").strip()
        return _bounded(float(reset[:32]) - now(headers)) if reset.isdecimal() else None
    return None


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), _MAX_SECONDS)


def now(headers: Mapping[str, str]) -> float:
    """Return the seconds since the epoch by the host's clock, or else by ours."""
    return moment_of(headers.get("Date", "")) or time.time()


def is_retryable(status: int, headers: Mapping[str, str]) -> bool:
    """Tell whether a request that was answered so is worth another attempt."""
    wait = wait_of(headers)
    if status == _FORBIDDEN:
        return wait is not None and wait <= MAX_RETRY_AFTER
    return status in _TRANSIENT and (wait is None or wait <= MAX_RETRY_AFTER)


def backoff(attempt: int) -> float:
    """Return the seconds between an attempt, the first being 0, and the next."""
    return _BACKOFF * float(1 << attempt)


def sleep(seconds: float, deadline: Deadline) -> bool:
    """Wait; return False at once if that would pass the deadline."""
    if seconds >= deadline.left:
        return False
    time.sleep(seconds)
    return True
