"""Which references of a flow are old enough to go.

Owns the rules, in restic's words: the last so many, all within a time before the newest, the
newest of each of the last so many days, weeks and months that have any, and what carries a label.
Invariant: a rule only ever keeps; the newest reference of a flow is always kept; without a rule
everything is. Time is the store's: whatever a writer's clock said, it takes nothing of others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from casflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)m)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)s)?")
_DAYS = (365, 30, 7, 1, 1 / 24, 1 / 86400)


def parse_duration(text: str) -> timedelta:
    """Return the time that `30d`, `12h`, `90s`, `2w` or `1y6m` stands for; a month has 30 days.

    Raises:
        ConfigError: It is not a time.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise ConfigError(f"not a time: {text!r}", hint="write it as 30d, 12h or 1y6m")
    amounts = (int(each or 0) for each in match.groups())
    try:
        return timedelta(days=sum(n * days for n, days in zip(amounts, _DAYS, strict=True)))
    except OverflowError as error:
        raise ConfigError(f"too long a time: {text!r}") from error


class Candidate(NamedTuple):
    """A reference, as far as retention needs to know it.

    Attributes:
        key: Where it stands.
        made: Seconds since the epoch by the store's clock.
        kept: Whether it is kept whatever the rules say.
    """

    key: str
    made: float
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """What retention keeps of each flow; 0 and None are no rule.

    Attributes:
        last: The newest so many.
        within: All that are at most this much older than the newest.
        daily: The newest of each of the last so many days that have any.
        weekly: The same by ISO weeks.
        monthly: The same by months.
        labels: All that carry one of these.
        used: All whose digest somebody used within this time, as leases tell.
    """

    last: int = 0
    within: timedelta | None = None
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    labels: frozenset[str] = frozenset()
    used: timedelta | None = None

    def __post_init__(self) -> None:
        for name in ("last", "daily", "weekly", "monthly"):
            if getattr(self, name) < 0:
                raise ConfigError(f"keep-{name} is negative", where=getattr(self, name))

    def __bool__(self) -> bool:
        """Tell whether there is any rule, so whether anything can expire."""
        if any(getattr(self, each.name) for each in fields(self)):
            return True
        return self.within is not None or self.used is not None

    def __str__(self) -> str:
        """Return the rules as a line that `parse` reads."""
        words = [
            f"{each.name}={getattr(self, each.name)}"
            for each in fields(self)
            if isinstance(getattr(self, each.name), int) and getattr(self, each.name)
        ]
        times = {"within": self.within, "used": self.used}
        words += [f"{name}={_format_duration(each)}" for name, each in times.items() if each]
        return " ".join([*words, *(f"label={each}" for each in sorted(self.labels))])

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Read a policy such as `last=5 within=30d daily=7 label=release`.

        Raises:
            ConfigError: It is not one.
        """
        values: dict[str, Any] = {}
        labels: set[str] = set()
        for word in text.split():
            name, _, value = word.partition("=")
            if name == "label":
                labels.add(value)
            elif name in ("within", "used"):
                values[name] = parse_duration(value)
            elif name in ("last", "daily", "weekly", "monthly") and value.isdecimal():
                values[name] = int(value)
            else:
                hint = "write it as last=5 within=30d daily=7 weekly=4 monthly=12 label=NAME"
                raise ConfigError(f"not a rule of retention: {word!r}", hint=hint)
        return cls(**values, labels=frozenset(labels))


def expired(policy: Policy, candidates: Iterable[Candidate]) -> list[str]:
    """Return the keys of those references of one flow that no rule keeps, newest first."""
    newest_first = sorted(candidates, key=lambda each: (each.made, each.key), reverse=True)
    if not policy or not newest_first:
        return []
    newest = datetime.fromtimestamp(newest_first[0].made, UTC)
    rules = _rules(policy, newest)
    gone = []
    for place, candidate in enumerate(newest_first):
        moment = datetime.fromtimestamp(candidate.made, UTC)
        kept = [rule(moment) for rule in rules]  # every rule counts every reference
        if place >= max(policy.last, 1) and not candidate.kept and not any(kept):
            gone.append(candidate.key)
    return gone


def _format_duration(time: timedelta) -> str:
    days, rest = divmod(time, timedelta(days=1))
    return f"{days}d" + (f"{rest // timedelta(hours=1)}h" if rest else "")


def _rules(policy: Policy, newest: datetime) -> list[Callable[[datetime], bool]]:
    periods: list[tuple[int, Callable[[datetime], object]]] = [
        (policy.daily, lambda moment: moment.date()),
        (policy.weekly, lambda moment: moment.isocalendar()[:2]),
        (policy.monthly, lambda moment: (moment.year, moment.month)),
    ]
    rules: list[Callable[[datetime], bool]] = [
        _Newest(count, period) for count, period in periods if count
    ]
    if (within := policy.within) is not None:
        rules.append(lambda moment: newest - moment <= within)
    return rules


class _Newest:
    """Keeps the first that it sees of each period, for so many periods."""

    def __init__(self, count: int, period: Callable[[datetime], object]) -> None:
        self._left = count
        self._period = period
        self._seen: object = None

    def __call__(self, moment: datetime) -> bool:
        period = self._period(moment)
        if not self._left or period == self._seen:
            return False
        self._seen = period
        self._left -= 1
        return True
