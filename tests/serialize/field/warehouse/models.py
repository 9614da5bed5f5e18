from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from . import settings
from .base import Base, Result


class State(enum.Enum):
    NEW = "new"
    PAID = "paid"

    @property
    def next(self) -> State:
        members = list(type(self))
        return members[(members.index(self) + 1) % len(members)]


@dataclass
class Line:
    sku: str
    price: Decimal = Decimal(0)
    order: Order | None = field(default=None, repr=False, compare=False)


@dataclass
class Order:
    id: int
    lines: list[Line] = field(default_factory=list)
    state: State = State.NEW
    at: datetime = datetime(2024, 1, 1)

    def __post_init__(self) -> None:
        for line in self.lines:
            line.order = self

    @property
    def total(self) -> Decimal:
        return sum((line.price for line in self.lines), settings.ZERO)


class Pay(Base):
    kind = "pay"

    def run(self, order: Order) -> Order:
        order.state = order.state.next
        return order


def paid(order: Order) -> Result[Order]:
    return Result(order).map(Pay().run)
