"""The result: how a value is written and read, and how its location is made.

Owns `Result` and location templates. Invariant: `read` and `write` return new results and leave
the one that they were called on as it is; the clock and the random part of a location can be
given, as `date` and `uuid`.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from casflow.errors import ConfigError
from casflow.results.serializers import PickleSerializer

if TYPE_CHECKING:
    from casflow.results.serializers import Serializer

Location = str | Callable[..., str]

DEFAULT_LOCATION = "{date:%Y/%m/%d}/{uuid}.casflow_result"


class Result(ABC):
    """Where a value is, or will be, kept.

    Args:
        location: A template for `str.format`, or a function that is called with the same values as
            keywords: `date`, `today`, `uuid`, and in a run `flow_name`, `task_name`, `task_slug`,
            `parameters`.
        serializer: Turns values into bytes and back; pickles when left out.

    Attributes:
        value: The value that was read or written; None before.
    """

    def __init__(
        self, location: Location | None = None, *, serializer: Serializer | None = None
    ) -> None:
        self.location: Location = DEFAULT_LOCATION if location is None else location
        self.serializer: Serializer = PickleSerializer() if serializer is None else serializer
        self.value: Any = None

    @abstractmethod
    def read(self, location: str) -> Self:
        """Return a result with the value that is kept at a location.

        Raises:
            NotFoundError: Nothing is kept there.
            IntegrityError: The bytes there are not those that were written.
            LoadError: The bytes cannot be turned into a value here.
        """

    @abstractmethod
    def write(self, value: Any, **context: Any) -> Self:
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

    def _at(self, location: str, value: Any = None) -> Self:
        other = copy.copy(self)
        other.location = location
        other.value = value
        return other

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.location}>"


def render(location: Location, context: dict[str, Any]) -> str:
    """Return the location that is made of the context, and of the time and a random name.

    Raises:
        ConfigError: It names a fact that there is not, or is not text.
    """
    date = context.get("date") or datetime.now(UTC)
    known = {"date": date, "today": f"{date:%Y-%m-%d}", "uuid": str(uuid4()), **context}
    text = location(**known) if callable(location) else _format_template(location, known)
    if not isinstance(text, str) or not text:
        raise ConfigError("the location of a result is text and not empty", where=repr(text))
    return text


def _format_template(template: str, context: dict[str, Any]) -> str:
    try:
        return template.format(**context)
    except (LookupError, AttributeError, ValueError, TypeError) as error:
        hint = f"it may use {', '.join(sorted(context))}"
        what = f"cannot make a result's location ({type(error).__name__}: {error})"
        raise ConfigError(what, where=template, hint=hint) from error
