"""The highest move of each tag that this machine has seen, so that no tag goes back.

Owns the files below `<home>/tags/`. Invariant: what is kept for a tag of a store only rises; it is
kept beside the settings, not in the cache, which may be deleted at any time.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from casflow.cache.locks import lock
from casflow.config import make_folder
from casflow.digests import digest_of, hex_of
from casflow.errors import SignatureError
from casflow.files import read_whole

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)


class Counters:
    """The moves that were seen.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, store: str, name: str, tag: str) -> tuple[int, str]:
        """Return the counter of the newest move that was seen, and its subject; 0 for none.

        Raises:
            SignatureError: What was kept is damaged: nobody can say how far the tag was.
        """
        path = self._path(store, name, tag)
        try:
            form = json.loads(read_whole(path))
            return int(form["counter"]), str(form["subject"])
        except (FileNotFoundError, NotADirectoryError):
            return 0, ""
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            what = "cannot read which moves of the tag were seen"
            hint = "remove the file if you know that the tag is right"
            raise SignatureError(what, reason="replayed", where=path, hint=hint) from error

    def record(self, store: str, name: str, tag: str, counter: int, subject: str) -> None:
        """Keep a move that was seen, unless a newer one was."""
        path = self._path(store, name, tag)
        form = {"store": store, "name": name, "tag": tag, "counter": counter, "subject": subject}
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
        try:
            make_folder(self._folder)
            with lock(self._folder, "lock"):
                if counter > self.find(store, name, tag)[0]:
                    temporary.write_text(json.dumps(form) + "\n", encoding="utf-8")
                    temporary.replace(path)
        except OSError as error:
            logger.warning(
                "cannot keep that move %d of %s@%s was seen: %s", counter, name, tag, error
            )
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _path(self, store: str, name: str, tag: str) -> Path:
        key = json.dumps([store, name, tag])
        return self._folder / f"{hex_of(digest_of(key.encode()))}.json"
