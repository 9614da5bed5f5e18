"""Serializers: values to bytes and back.

Owns the two forms that results are kept in. Invariant: a pickle is preceded by its digest, which
tells damage from a value; whether its bytes may be unpickled at all, the digest in the record of
the run says, which `Result.read` asks for.
"""

from __future__ import annotations

import json
import pickle
from typing import Any, Protocol

from casflow.digests import digest_of, verify
from casflow.errors import ConfigError, IntegrityError, LoadError


class Serializer(Protocol):
    """Turns values into bytes and back.

    One whose bytes cannot run code says so with `needs_digest = False`; the results of any other
    are read only with their digest.
    """

    def serialize(self, value: Any) -> bytes:
        """Return the bytes of a value."""

    def deserialize(self, data: bytes, *, where: str) -> Any:
        """Return the value of bytes; `where` they came from is for messages."""


class PickleSerializer:
    """Any value that cloudpickle takes: a line with the digest, then the pickle."""

    needs_digest = True

    def serialize(self, value: Any) -> bytes:
        """Return the bytes of a value.

        Raises:
            ConfigError: It cannot be pickled.
        """
        import cloudpickle

        try:
            data: bytes = cloudpickle.dumps(value)
        except Exception as error:
            raise ConfigError(
                f"a result cannot be pickled ({error})", where=_type(value)
            ) from error
        return b"%s\n%s" % (digest_of(data).encode(), data)

    def deserialize(self, data: bytes, *, where: str) -> Any:
        """Return the value of bytes.

        Raises:
            IntegrityError: They are not those that were written.
            LoadError: They cannot be unpickled here.
        """
        digest, newline, content = data.partition(b"\n")
        if not newline or not digest.startswith(b"blake3:"):
            raise IntegrityError("not a result that casflow pickled", where=where)
        verify(content, digest.decode(errors="replace"), where=where)
        try:
            return pickle.loads(content)
        except Exception as error:
            raise LoadError(f"a result cannot be unpickled ({error!r})", where=where) from error


class JSONSerializer:
    """Numbers, text, lists and dictionaries, as JSON that other programs can read."""

    needs_digest = False

    def serialize(self, value: Any) -> bytes:
        """Return the bytes of a value.

        Raises:
            ConfigError: It has no JSON form.
        """
        try:
            return json.dumps(value, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"a result has no JSON form ({error})", where=_type(value)) from error

    def deserialize(self, data: bytes, *, where: str) -> Any:
        """Return the value of bytes.

        Raises:
            IntegrityError: They are not JSON.
        """
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise IntegrityError(f"a result is not JSON ({error})", where=where) from error


def _type(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
