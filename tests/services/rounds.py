"""A store that shows how many round trips something takes: what is asked side by side is one."""

from __future__ import annotations

import time
from threading import Condition, Thread
from typing import Any

QUIET = 0.3  # seconds without a further question after which those that wait are answered
_READING = {"get", "get_range", "copy_to", "find", "list"}
_WRITING = {"create", "put", "delete", "create_empty", "delete_many"}


class Rounds:
    """A blob store that answers no question before all that are asked at once were asked.

    Args:
        store: The store that answers.

    Attributes:
        asked: The questions of each round.
        written: Bytes that were to be written.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self._waiting: list[tuple[str, object]] = []
        self._turn = Condition()
        self._last = time.monotonic()
        self.asked: list[list[str]] = []
        self.written = 0
        Thread(target=self._answer, daemon=True).start()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in _READING | _WRITING:
            return found

        def ask(*arguments: Any, **options: Any) -> Any:
            with self._turn:
                ticket = (name, object())
                self._waiting.append(ticket)
                self._last = time.monotonic()
                if name in ("create", "put"):
                    data = arguments[1]
                    self.written += len(data) if isinstance(data, bytes) else data.stat().st_size
                self._turn.wait_for(lambda: ticket not in self._waiting)
            return found(*arguments, **options)

        return ask

    def _answer(self) -> None:
        while True:
            time.sleep(QUIET / 10)
            with self._turn:
                if self._waiting and time.monotonic() - self._last > QUIET:
                    self.asked.append([name for name, _ in self._waiting])
                    self._waiting = []
                    self._turn.notify_all()
