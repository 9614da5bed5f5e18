"""The result: how a value is written and read.

Owns `Result`. Invariant: `read` and `write` return new results and leave the one that they were
called on as it is; nothing is unpickled but bytes with the digest that was given for them.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

from casflow.results.location import DEFAULT_LOCATION, render
from casflow.results.serializers import PickleSerializer

if TYPE_CHECKING:
    from casflow.results.location import Location
    from casflow.results.serializers import Serializer


class Result(ABC):
    """Where a value is, or will be, kept.

    Args:
        location: A template for `str.format`, or a function that is called with the same values as
            keywords: those in `casflow.results.location.NAMES`, and the flow's parameters and the
            arguments of the task by their names.
        serializer: Turns values into bytes and back; pickles when left out.
        value: A value that is known already; nothing is written.

    Attributes:
        value: The value that was read or written; None before.
        digest: Digest of the bytes that were read or written; None before.
    """

    # On the class, so that a flow with a result is pickled as it always was.
    digest: str | None = None

    def __init__(
        self,
        location: Location | None = None,
        *,
        serializer: Serializer | None = None,
        value: Any = None,
    ) -> None:
        self.location: Location = DEFAULT_LOCATION if location is None else location
        self.serializer: Serializer = PickleSerializer() if serializer is None else serializer
        self.value = value

    @abstractmethod
    def read(self, location: str, *, digest: str | None = None) -> Self:
        """Return a result with the value that is kept at a location.

        Args:
            location: The location.
            digest: Digest of the bytes that were written, as the record of the run has it. Values
                that are pickled need it: who can write to the place could put other code there.

        Raises:
            NotFoundError: Nothing is kept there.
            ConfigError: The digest is needed and was not given.
            IntegrityError: The bytes there are not those that were written.
            LoadError: The bytes cannot be turned into a value here.
        """

    @abstractmethod
    def write(self, value: Any, /, **context: Any) -> Self:
        """Keep a value, and return a result with it and with its location.

        Args:
            value: The value.
            **context: What the location is made of.

        Raises:
            ConfigError: The value cannot be serialized, or the location cannot be made.
        """

    @abstractmethod
    def exists(self, location: str, **context: Any) -> bool:
        """Tell whether a value is kept at a location, or at the one made of a context."""

    def format(self, **context: Any) -> Self:
        """Return a result whose location is made of this context.

        Raises:
            ConfigError: The location cannot be made of them.
        """
        return self._at(render(self.location, context))

    def _at(self, location: str, value: Any = None, digest: str | None = None) -> Self:
        other = copy.copy(self)
        other.location = location
        other.value = value
        other.digest = digest
        return other

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.location}>"
