"""Flow to bytes and back."""

from __future__ import annotations

import pickle
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cloudpickle

from casflow.digests import digest_of
from casflow.errors import LoadError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Serialized:
    """A placeholder until the canonical serialiser is merged."""

    data: bytes
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def serialize(obj: Any, *, project: Path | None = None) -> Serialized:
    """Return an object's bytes."""
    return Serialized(dumps(obj), environment={"python": platform.python_version()})


def deserialize(
    data: Any,
    *,
    attachments: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
) -> Any:
    """Return the object of its bytes."""
    try:
        return pickle.loads(data)
    except Exception as error:
        raise LoadError(f"cannot load ({error!r})") from error


def dumps(obj: Any) -> bytes:
    """Return an object's bytes."""
    return bytes(cloudpickle.dumps(obj, protocol=5))


def loads(data: Any) -> Any:
    """Return the object of its bytes."""
    return deserialize(data)


def digest(obj: Any) -> str:
    """Return the digest of an object's bytes."""
    return digest_of(dumps(obj))


def versions() -> dict[str, Any]:
    """Return the versions that a flow is built with."""
    return {"python": platform.python_version()}
