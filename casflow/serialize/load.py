"""From bytes to the object: loading, with true files and lines, and with words when it fails.

Owns the way back. Invariant: the bytes are verified before they come here; every failure is a
`LoadError` that says what built them and what tries to run them.
"""

from __future__ import annotations

import pickle
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from casflow.errors import CasflowError
from casflow.serialize import sourcemap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.digests import Buffer

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def deserialize(
    data: Buffer,
    *,
    attachments: Mapping[str, bytes] = _NOTHING,
    environment: Mapping[str, Any] = _NOTHING,
) -> Any:
    """Return the object of a blob, with the source map put back.

    Args:
        data: The blob; its digest has been verified.
        attachments: Further blobs by role; verified too.
        environment: What it was made with, for the message when it does not load.

    Raises:
        LoadError: No object could be made of it here.
        IntegrityError: The source map is damaged, or not that of the blob.
    """
    source_map = attachments.get("source_map")
    try:
        return sourcemap.loads(data, source_map) if source_map else pickle.loads(data)
    except CasflowError:
        raise
    except Exception as error:  # whatever a constructor raises
        from casflow.serialize.environment import load_error

        raise load_error(error, environment) from error


def loads(data: Buffer) -> Any:
    """Return the object of any pickle, canonical or not.

    Raises:
        LoadError: No object could be made of it here.
    """
    return deserialize(data)
