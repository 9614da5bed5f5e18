"""States: how the run of a task or of a flow ended.

Owns the three ends there are. Invariant: every task of a run ends in exactly one state, and an
exception that ended it is kept there, not raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casflow.flow.prefect import OF_STATES, absent


class State:
    """How a run ended.

    Args:
        message: One line for people.
        result: A task's value or exception; for a flow the states of its tasks, by task.
        exception: The exception that ended it; for a flow that of the first task that failed.
        location: Where the value was written, if it was.
        digest: Digest of the bytes that were written, if the result tells it.
    """

    def __init__(
        self,
        message: str,
        *,
        result: Any = None,
        exception: BaseException | None = None,
        location: str | None = None,
        digest: str | None = None,
    ) -> None:
        self.message = message
        self.result = result
        self.exception = exception
        self.location = location
        self.digest = digest

    def is_successful(self) -> bool:
        """Tell whether it ended well."""
        return isinstance(self, Success)

    def is_failed(self) -> bool:
        """Tell whether it ended badly, or could not begin."""
        return isinstance(self, Failed)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Answer for the methods of a state of Prefect 1."""
            raise absent(name, type(self).__name__, OF_STATES)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.message!r}>"


class Success(State):
    """It ended well."""


class Failed(State):
    """It raised an exception, or a part of it did."""

    @classmethod
    def from_exception(cls, error: BaseException) -> Failed:
        """Return the state of a task that an exception ended."""
        return cls(f"{type(error).__name__}: {error}", result=error, exception=error)


class TriggerFailed(Failed):
    """It did not begin, because a task that it needs failed."""
