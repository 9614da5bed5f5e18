"""The locations of results: templates, and the facts that they may name.

Owns the names that a template may use. Invariant: a template that names anything else is refused
where its flow is registered, so no run fails for a misspelt word after its work was done.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from string import Formatter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from casflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Location = str | Callable[..., str]

DEFAULT_LOCATION = "{date:%Y/%m/%d}/{uuid}.casflow_result"
SUFFIX = ".casflow_result"
_OF_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
_OF_RUNS = (
    *("flow_name", "flow_run_id", "parameters", "scheduled_start_time"),
    *("task_name", "task_full_name", "task_slug", "task_run_count"),
)
NAMES = (
    *("date", "uuid"),
    *_OF_DAYS,
    *(f"{day}_nodash" for day in _OF_DAYS),
    *_OF_RUNS,
)
"""What every location may name, besides the flow's parameters and the arguments of its task."""


def render(location: Location, context: Mapping[str, Any]) -> str:
    """Return the location that is made of the context, and of the time and a random name.

    Args:
        location: A template for `str.format`, or a function that takes the facts as keywords.
        context: Facts. The values in its `parameters` and `inputs` are facts by their own names,
            too; the clock and the random part can be given, as `date` and `uuid`.

    Raises:
        ConfigError: It names a fact that there is not, or is not text.
    """
    given = dict(context)
    inputs = given.pop("inputs", {})
    date = given.get("date") or datetime.now(UTC)
    parameters = given.get("parameters", {})
    known = {**parameters, **_facts_of(date), "uuid": str(uuid4()), **given, **inputs}
    text = location(**known) if callable(location) else _format(location, known)
    if not isinstance(text, str) or not text:
        raise ConfigError("the location of a result is text and not empty", where=repr(text))
    return text


def check(
    location: Location, parameters: Iterable[str], arguments: Callable[[], Iterable[str]]
) -> bool:
    """Check that a template names nothing but what a run will have.

    Args:
        location: The template; a function is not called, and passes.
        parameters: Names of the flow's parameters.
        arguments: Gives the names of the arguments that the task is called with; asked only
            where the template needs more than every task has.

    Returns:
        Whether it is fine for every task of the flow.

    Raises:
        ConfigError: It does, or is no template; the message lists what there is.
    """
    if callable(location):
        return True
    given = dict.fromkeys(parameters, _ANY)
    facts = {**dict.fromkeys(_OF_RUNS, _ANY), **_facts_of(datetime.now(UTC)), "uuid": "0"}
    facts["scheduled_start_time"] = facts["date"]
    known = {**given, **facts, "parameters": given}
    try:
        _format(location, known)
    except ConfigError:
        _format(location, {**known, **dict.fromkeys(arguments(), _ANY)})
        return False
    return True


def _facts_of(date: datetime) -> dict[str, Any]:
    days = {name: date + timedelta(days=offset) for name, offset in _OF_DAYS.items()}
    return {
        "date": date,
        **{name: f"{day:%Y-%m-%d}" for name, day in days.items()},
        **{f"{name}_nodash": f"{day:%Y%m%d}" for name, day in days.items()},
    }


def _format(template: str, facts: dict[str, Any]) -> str:
    try:
        return Formatter().vformat(template, (), facts)
    except (LookupError, AttributeError, ValueError, TypeError) as error:
        what = f"cannot make a result's location ({type(error).__name__}: {error})"
        hint = f"it may use {', '.join(sorted(facts))}"
        raise ConfigError(what, where=template, hint=hint) from error


class _Any:
    """Stands for a value of which nothing is known yet."""

    def __getattr__(self, name: str) -> _Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: object) -> _Any:
        return self

    def __format__(self, spec: str) -> str:
        return "x"


_ANY = _Any()
