"""Rows of the registry as records, held to what a record promises.

Owns what is checked of a row that comes out of a database, where others may have written.
Invariant: a record that is handed out has the types that it names; a row that has not raises an
`IntegrityError` where it is asked for, and is left out, with a warning, where many are listed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

from casflow.digests import parse
from casflow.errors import CasflowError, IntegrityError
from casflow.registry.records import Agent, Run, RunState, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

log = logging.getLogger("casflow.registry")

Record = TypeVar("Record", Version, Run, Agent)
_HINT = "`casflow registry check` lists such records, and can set them aside"
_VERSION: dict[str, tuple[type, ...]] = {
    "id": (int,),
    "project": (str,),
    "flow": (str,),
    "number": (int,),
    "digest": (str,),
    "storage": (dict,),
    "reference": (dict, NoneType),
    "labels": (tuple,),
    "location": (str,),
    "idempotency_key": (str, NoneType),
    "created": (datetime,),
}
_RUN: dict[str, tuple[type, ...]] = {
    "id": (int,),
    "project": (str,),
    "flow": (str,),
    "version": (int,),
    "digest": (str,),
    "parameters": (dict,),
    "labels": (tuple,),
    "state": (RunState,),
    "message": (str, NoneType),
    "scheduled": (datetime,),
    "attempt": (int,),
    "losses": (int,),
    "agent": (str, NoneType),
    "heartbeat": (datetime, NoneType),
    "created": (datetime,),
    "started": (datetime, NoneType),
    "ended": (datetime, NoneType),
    "outcome": (dict, NoneType),
    "host": (str, NoneType),
}
_AGENT: dict[str, tuple[type, ...]] = {
    "id": (int,),
    "name": (str,),
    "host": (str,),
    "pid": (int,),
    "labels": (tuple,),
    "started": (datetime,),
    "heartbeat": (datetime,),
    "ended": (datetime, NoneType),
    "skew": (timedelta, NoneType),
}


@dataclass(frozen=True, slots=True)
class Malformed:
    """The value of a column that does not hold what it should.

    Attributes:
        reason: Why it could not be read.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Damage:
    """A row that cannot be read as a record.

    Attributes:
        kind: `version`, `run` or `agent`.
        id: Its row.
        reason: What is wrong with it.
        digest: The digest that it names, if that can be read.
        location: The location that it names, if that can be read.
    """

    kind: str
    id: int
    reason: str
    digest: str | None = None
    location: str | None = None


def version_of(values: Mapping[str, Any]) -> Version:
    """Return the version of a row.

    Raises:
        IntegrityError: The row does not hold one.
    """
    _check("version", values, _VERSION)
    try:
        parse(values["digest"])
    except CasflowError as error:
        raise _damaged("version", values, f"digest: {error.what}") from error
    if values["reference"] is not None and not is_moment(values["reference"].get("created")):
        raise _damaged("version", values, "reference: created is no moment")
    return Version(**values)


def run_of(values: Mapping[str, Any]) -> Run:
    """Return the run of a row.

    Raises:
        IntegrityError: The row does not hold one.
    """
    _check("run", values, _RUN)
    return Run(**values)


def agent_of(values: Mapping[str, Any]) -> Agent:
    """Return the agent of a row.

    Raises:
        IntegrityError: The row does not hold one.
    """
    _check("agent", values, _AGENT)
    return Agent(**values)


def readable(rows: Iterable[Any], record_of: Callable[[Mapping[str, Any]], Record]) -> list[Record]:
    """Return the records of the rows that hold one; a warning names the others."""
    found = []
    for row in rows:
        try:
            found.append(record_of(dict(row._mapping)))  # noqa: SLF001 - SQLAlchemy's public name for it
        except IntegrityError as error:
            log.warning("%s", error)
    return found


def is_moment(value: object) -> bool:
    """Whether a value is an ISO 8601 moment with an offset."""
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def is_labels(value: object) -> bool:
    """Whether a value is a tuple of texts."""
    return isinstance(value, tuple) and all(isinstance(each, str) for each in value)


def _check(kind: str, values: Mapping[str, Any], types: Mapping[str, tuple[type, ...]]) -> None:
    for name, allowed in types.items():
        value = values[name]
        if isinstance(value, Malformed):
            raise _damaged(kind, values, f"{name}: {value.reason}")
        if not isinstance(value, allowed) or isinstance(value, bool):
            raise _damaged(kind, values, f"{name} is of type {type(value).__name__}")
    if not is_labels(values["labels"]):
        raise _damaged(kind, values, "labels are not texts")


def _damaged(kind: str, values: Mapping[str, Any], reason: str) -> IntegrityError:
    return IntegrityError(
        f"the registry's record of a {kind} is damaged ({reason})",
        where=f"{kind} {values['id']}",
        hint=_HINT,
    )
