"""Parameters of a collector: how long to wait, and what others say they need.

Owns the constants of the protocol on the collector's side. Invariant: the grace is over four times
as long as a writer may take, or the user promised that nobody writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from casflow.blobs.content import DEADLINE, SKEW
from casflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.reference import Reference

HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds, by the store's clock, and the two promises that loosen them.

    Attributes:
        grace: From the marker on a blob to its deletion.
        deadline: What a writer may take.
        trash: From retention's taking of a reference to its end.
        lease: From the day in the key of a lease to its end.
        exclusive: Nothing else writes to the store or collects it, so the grace may be short (with
            0 a blob is condemned and deleted in one run), and markers of digests that are
            gone are removed. Nobody else may do this: a removed marker makes a name usable
            again, and a collector that decided long ago deletes what is written there.
        allow_empty: That no reference is left in the store is no mistake.
    """

    grace: float = DAY
    deadline: float = DEADLINE
    trash: float = 7 * DAY
    lease: float = 30 * DAY
    exclusive: bool = False
    allow_empty: bool = False

    def __post_init__(self) -> None:
        least = 4 * self.deadline + SKEW
        if self.grace < least and not self.exclusive:
            hint = f"give it at least {least:.0f}, or promise with --exclusive that nobody writes"
            raise ConfigError(f"a grace of {self.grace:.0f} s is too short", hint=hint)
        if min(self.grace, self.trash, self.lease) < 0:
            raise ConfigError("a time of the collector is negative")


@dataclass(frozen=True, slots=True)
class Claims:
    """What registries need of a store; retention leaves it alone.

    Attributes:
        keys: Keys of references that current versions and waiting or running runs name.
        digests: Digests that they name where the key is not known.
        flows: Project and name of the flows that retention may thin out; None for all in the
            store. One registry's policy must not take another's flows from a store they share.
        projects: Projects of the versions at keys of references, for those that do not say theirs.
        copies: References by key, of every version that is known.
    """

    keys: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()
    flows: frozenset[tuple[str, str]] | None = None
    projects: Mapping[str, frozenset[str]] = field(default_factory=dict)
    copies: Mapping[str, Reference] = field(default_factory=dict)
