"""What a collector is told: how long to wait, and what others say they need.

Owns the constants of the protocol on the collector's side. Invariant: the grace is over four times
as long as a writer may take, or the user promised that nobody writes.
"""

from __future__ import annotations

from dataclasses import dataclass

from casflow.blobs.content import DEADLINE
from casflow.errors import ConfigError

HOUR = 3600.0
DAY = 24 * HOUR
SKEW = 300.0  # seconds that the clocks of a store and of this machine may differ by


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds, by the store's clock, and the two promises that loosen them.

    Attributes:
        grace: From the marker on a blob to its deletion.
        deadline: What a writer may take.
        tomb: From the marker on a blob to its removal, when the blob is long gone.
        trash: From retention's taking of a reference to its end.
        exclusive: Nothing else writes to the store, so the grace may be short; with a grace of 0
            a blob is condemned and deleted in one run.
        allow_empty: That no reference is left in the store is no mistake.
    """

    grace: float = DAY
    deadline: float = DEADLINE
    tomb: float = 30 * DAY
    trash: float = 7 * DAY
    exclusive: bool = False
    allow_empty: bool = False

    def __post_init__(self) -> None:
        least = 4 * self.deadline + SKEW
        if self.grace < least and not self.exclusive:
            hint = f"give it at least {least:.0f}, or promise with --exclusive that nobody writes"
            raise ConfigError(f"a grace of {self.grace:.0f} s is too short", hint=hint)
        if min(self.grace, self.trash) < 0 or self.tomb <= self.grace:
            raise ConfigError("a time of the collector is negative or out of order")


@dataclass(frozen=True, slots=True)
class Claims:
    """What registries need of a store; retention leaves it alone.

    Attributes:
        keys: Keys of references that current versions and waiting or running runs name.
        digests: Digests that they name where the key is not known.
        flows: Names of the flows that retention may thin out; None for all in the store. One
            project's policy must not take another's flows from a store that they share.
    """

    keys: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()
    flows: frozenset[str] | None = None
