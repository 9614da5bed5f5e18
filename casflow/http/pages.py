"""Lists that a host hands out page by page.

Invariant: pages are asked for on the host of the first one, each once, and at most `MOST` of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin

from casflow.errors import IntegrityError
from casflow.http.redirects import is_same_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from casflow.http.answer import Answer

MOST = 1000  # pages of one list


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
    """
    first, seen = url, {url}
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
        seen.add(url)
    raise IntegrityError(f"the list has more than {MOST} pages", where=where)
