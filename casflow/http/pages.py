"""Lists that a host hands out page by page.

Invariant: pages are asked for on the host of the first one, each once; they are at most `MOST`,
have at most `MOST_BYTES` together, and are all there within `MOST_SECONDS`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from casflow.errors import IntegrityError, UnavailableError
from casflow.http.redirects import is_same_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from casflow.http.answer import Answer

MOST = 1000  # pages of one list
MOST_BYTES = 64 << 20  # of their bodies and addresses
MOST_SECONDS = 600.0


def read_pages(
    url: str, ask: Callable[[str], Answer], following: Callable[[Answer], str | None], *, where: str
) -> Iterator[Answer]:
    """Yield the pages of a list.

    Args:
        url: Address of the first page.
        ask: Returns the answer at an address.
        following: Returns the address of the page after one, absolute or relative to it.
        where: What messages name instead of the addresses.

    Raises:
        IntegrityError: The next page is one that was read already, is on another host, or there
            are too many.
        UnavailableError: They took too long.
    """
    first, seen, size = url, {url}, 0
    deadline = time.monotonic() + MOST_SECONDS
    while len(seen) <= MOST:
        answer = ask(url)
        yield answer
        after = following(answer)
        if not after:
            return
        url = urljoin(answer.url, after)
        if not is_same_origin(first, url):
            raise IntegrityError("the list goes on at another host", where=where)
        if url in seen:
            raise IntegrityError("the list's next page is an earlier one", where=where)
        size += len(answer.body) + len(url)
        if size > MOST_BYTES:
            raise IntegrityError(f"the list has more than {MOST_BYTES} bytes", where=where)
        if time.monotonic() > deadline:
            raise UnavailableError(f"the list took more than {MOST_SECONDS:.0f} s", where=where)
        seen.add(url)
    raise IntegrityError(f"the list has more than {MOST} pages", where=where)
