"""What the registry hands out, and what it lets in.

Owns the records (`Version`, `Run`, `Agent`, `RunState`) and the checks of labels, project names
and parameters. Invariant: a value that passed a check here comes back from either database as it
was handed in (tuples as lists, labels sorted).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from casflow.errors import ConfigError, bounded
from casflow.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

SCHEMA = 5  # of the tables; the last of migrations/versions/
DEFAULT_PROJECT = "default"
MAX_SKEW = 5.0  # seconds that a machine's clock may differ from the database's unmentioned
_LONGEST_LABEL = 200  # characters


class RunState(StrEnum):
    """Where a run stands; the last three are final."""

    SCHEDULED = "Scheduled"
    RUNNING = "Running"
    SUCCESS = "Success"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def is_final(self) -> bool:
        """Whether a run in this state never changes again."""
        return self not in (RunState.SCHEDULED, RunState.RUNNING)


@dataclass(frozen=True, slots=True)
class Version:
    """One registered version of a flow.

    Attributes:
        id: Its row in this registry.
        project: Name of the project.
        flow: Name of the flow.
        number: 1 for the flow's first version, and so on without gaps.
        digest: Digest of the flow's blob.
        storage: The storage's JSON form, without secrets.
        reference: The reference's JSON form; None for a storage that writes none.
        labels: Sorted labels that an agent must carry.
        location: Where the storage keeps this version.
        idempotency_key: The key that the registration was made with.
        created: When it was registered.
    """

    id: int
    project: str
    flow: str
    number: int
    digest: str
    storage: Mapping[str, Any]
    reference: Mapping[str, Any] | None
    labels: tuple[str, ...]
    location: str
    idempotency_key: str | None
    created: datetime


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent process, from its start to its end.

    Attributes:
        id: Its row in this registry.
        name: The name that it was started with.
        host: The machine that it runs on.
        pid: Its process there.
        labels: Sorted labels that it carries.
        started: When it started.
        heartbeat: When it last reported that it is alive.
        ended: When it stopped or was given up; None while it is there.
        skew: How far its machine's clock is ahead of the database's; None of an older casflow.
    """

    id: int
    name: str
    host: str
    pid: int
    labels: tuple[str, ...]
    started: datetime
    heartbeat: datetime
    ended: datetime | None
    skew: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one version.

    Attributes:
        id: Its number in this registry.
        project: Name of the project.
        flow: Name of the flow.
        version: Number of the version.
        digest: Digest of the version's blob.
        parameters: The flow's parameters.
        labels: Sorted labels that an agent must carry to take it.
        state: Where it stands.
        message: One line on why it stands there.
        scheduled: Not to be started before this moment.
        attempt: How often it was claimed; distinguishes its present holder from an earlier one.
        losses: How many agents died with it.
        agent: Name of the agent that holds or held it.
        heartbeat: When that agent last reported that it is alive.
        created: When it was asked for.
        started: When it was last claimed.
        ended: When it reached a final state.
        outcome: What the run measured, such as cache hit or miss, bytes and seconds.
        host: The machine of that agent.
    """

    id: int
    project: str
    flow: str
    version: int
    digest: str
    parameters: Mapping[str, Any]
    labels: tuple[str, ...]
    state: RunState
    message: str | None
    scheduled: datetime
    attempt: int
    losses: int
    agent: str | None
    heartbeat: datetime | None
    created: datetime
    started: datetime | None
    ended: datetime | None
    outcome: Mapping[str, Any] | None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class RunAttempt:
    """One attempt at a run: what its holder has to know to end it.

    Attributes:
        id: Number of the run.
        attempt: The attempt that it was claimed as.
    """

    id: int
    attempt: int


def message_line(text: str) -> str:
    """Return a message as it is stored: one line of bounded length, without secrets."""
    line = " ".join(redact(text).encode(errors="replace").decode().replace("\0", " ").split())
    return bounded(line)


def check_agent_name(name: str) -> str:
    """Return the name of an agent.

    Raises:
        ConfigError: It cannot be one; the rules are those of labels.
    """
    return _check_text(name, "agent's name")


def check_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return labels sorted and without duplicates.

    Raises:
        ConfigError: One is empty, has a comma, white space at an end, a character that does not
            print, or more than 200 characters; or they are one text instead of several.
    """
    if isinstance(labels, str):
        raise ConfigError("labels are a list of texts, not one text", where=repr(labels))
    return tuple(sorted({_check_text(label, "label") for label in labels}))


def check_project(name: str | None) -> str:
    """Return a project's name; `default` when there is none.

    Raises:
        ConfigError: It cannot be a project's name; the rules are those of labels.
    """
    return DEFAULT_PROJECT if name is None else _check_text(name, "project name")


def _check_text(text: object, what: str) -> str:
    if not isinstance(text, str) or not text:
        raise ConfigError(f"not a {what}", where=repr(text), hint="write a text that is not empty")
    if len(text) > _LONGEST_LABEL:
        raise ConfigError(
            f"the {what} has {len(text)} characters",
            where=f"{text[:20]}…",
            hint=f"use at most {_LONGEST_LABEL}",
        )
    if "," in text or text != text.strip() or not text.isprintable():
        hint = "no commas, no white space at the ends, only characters that print"
        raise ConfigError(f"not a {what}", where=repr(text), hint=hint)
    return text


def check_parameters(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return parameters that survive JSON; an empty dictionary for None.

    Raises:
        ConfigError: A name is not text or a value is not JSON; the message names the key.
    """
    checked = dict(parameters or {})
    for name, value in checked.items():
        if not isinstance(name, str):
            raise ConfigError("a parameter's name is not text", where=repr(name))
        _check_json(value, name)
    return checked


def _check_json(value: Any, name: str) -> None:
    try:
        json.dumps(value, allow_nan=False)
        _check_keys(value)
    except (TypeError, ValueError, RecursionError) as error:
        hint = "use text, numbers, true, false, null, lists and objects of these"
        what = f"the parameter {name!r} is not JSON ({error})"
        raise ConfigError(what, hint=hint) from error


def _check_keys(value: Any) -> None:
    """Refuse what `json.dumps` would silently turn into text: keys that are numbers."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not text")
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for each in value:
        _check_keys(each)
