from __future__ import annotations

import logging
import typing as t
from abc import ABC, abstractmethod
from functools import lru_cache

if t.TYPE_CHECKING:
    from .models import Order

log = logging.getLogger(__name__)
registry: dict[str, type[Base]] = {}
T = t.TypeVar("T")


class Base(ABC):
    kind: t.ClassVar[str] = ""

    def __init_subclass__(cls, **kw: t.Any) -> None:
        super().__init_subclass__(**kw)
        registry[cls.__qualname__] = cls
        log.debug("registered %s", cls)

    @abstractmethod
    def run(self, order: Order) -> Order: ...

    @classmethod
    @lru_cache
    def described(cls) -> str:
        return f"{cls.__module__.rpartition('.')[2]}.{cls.__qualname__}"


class Result(t.Generic[T]):
    __slots__ = ("error", "value")

    def __init__(self, value: T | None = None, error: Exception | None = None) -> None:
        self.value, self.error = value, error

    def map(self, fn: t.Callable[[T], T]) -> Result[T]:
        return self if self.error else Result(fn(self.value))
