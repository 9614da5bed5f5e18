"""Object stores: what S3, GCS and Azure servers have in common for a test.

Owns `ObjectServer`, the description that a test is handed. Invariant: the servers keep state, so
every test asks for a fresh bucket and never sees what another test wrote.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class ObjectServer(ABC):
    """Where an object store answers and how clients are told of it.

    Attributes:
        url: Its endpoint; that of a proxy after `through`.
    """

    url: str
    protocol: ClassVar[str]

    @property
    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the fsspec filesystem."""

    @property
    @abstractmethod
    def environ(self) -> dict[str, str]:
        """Environment variables by which the cloud's own clients find the server."""

    def filesystem(self, **more: Any) -> Any:
        """Return a filesystem that answers nothing from a cache."""
        import fsspec

        fresh = {"use_listings_cache": False, "skip_instance_cache": True}
        return fsspec.filesystem(self.protocol, **self.options, **fresh, **more)

    def bucket(self) -> str:
        """Make a new, empty bucket (Azure: container) and return its name."""
        name = f"test-{uuid.uuid4().hex[:16]}"
        self._make_bucket(name)
        return name

    def _make_bucket(self, name: str) -> None:
        self.filesystem().mkdir(name)

    def through(self, url: str) -> Self:
        """Return the same server as reached by another URL, such as a proxy's."""
        return replace(self, url=url)
