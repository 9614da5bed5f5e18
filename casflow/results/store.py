"""Results in a blob store.

Owns everything that results in folders, buckets and containers have in common. Invariant: the
store is opened when it is first needed, and left behind by copies that travel.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

from casflow.digests import digest_of, verify
from casflow.errors import ConfigError
from casflow.results.base import Result
from casflow.results.location import render

if TYPE_CHECKING:
    from casflow.blobs.base import BlobStore
    from casflow.results.location import Location
    from casflow.results.serializers import Serializer


class StoreResult(Result):
    """A result in a blob store. A subclass says which, in `_open`.

    Args:
        location: As for `Result`; a key of the store.
        serializer: As for `Result`.
        value: As for `Result`.
    """

    # On the class, and left out of what is pickled: it is of this process alone.
    _written: dict[str, str] | None = None
    """Digests of what this result wrote, by key."""

    def __init__(
        self,
        location: Location | None = None,
        *,
        serializer: Serializer | None = None,
        value: Any = None,
    ) -> None:
        super().__init__(location, serializer=serializer, value=value)
        self._store: BlobStore | None = None

    @abstractmethod
    def _open(self) -> BlobStore:
        """Return the store, connected anew."""

    def _key(self, location: str) -> str:
        """Return the key that a location stands for."""
        return location

    def _location(self, key: str) -> str:
        """Return the location of a key, such that `_key` leads back."""
        return key

    @property
    def store(self) -> BlobStore:
        """The store that values are kept in."""
        if self._store is None:
            self._store = self._open()
        return self._store

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_store": None}
        state.pop("_written", None)
        return state

    def _at(self, location: str, value: Any = None, digest: str | None = None) -> Self:
        other = super()._at(location, value, digest)
        other._store = self._store  # noqa: SLF001 - a copy in this process
        return other

    def read(self, location: str, *, digest: str | None = None) -> Self:
        """Return a result with the value that is kept at a location."""
        key = self._key(location)
        where = self.store.location(key)
        data = self.store.get(key)
        needs_digest = getattr(self.serializer, "needs_digest", True)
        digest = digest or self._own_digest(key)
        if digest is None and needs_digest:  # what others read may be written by others
            digest = (self._written or {}).get(key)
        if digest is None and needs_digest:
            what = "a pickled result is read only with its digest"
            hint = "give read(location, digest=...) that of the run's record, or use JSONSerializer"
            raise ConfigError(what, where=where, hint=hint)
        if digest is not None:
            verify(data, digest, where=where)
        value = self.serializer.deserialize(data, where=where)
        return self._at(self._location(key), value, digest or digest_of(data))

    def _own_digest(self, key: str) -> str | None:
        """Return the digest that this result was written with, if that was to a key."""
        if self.digest is None or not isinstance(self.location, str):
            return None
        return self.digest if key == self._key(self.location) else None

    def write(self, value: Any, /, **context: Any) -> Self:
        """Keep a value, and return a result with it, its location and its digest."""
        key = self._key(render(self.location, context))
        data = self.serializer.serialize(value)
        self.store.put(key, data)
        digest = digest_of(data)
        self._written = {**(self._written or {}), key: digest}
        return self._at(self._location(key), value, digest)

    def exists(self, location: str, **context: Any) -> bool:
        """Tell whether a value is kept at a location, or at the one made of a context."""
        place = render(location, context) if context else location
        return self.store.find(self._key(place)) is not None
