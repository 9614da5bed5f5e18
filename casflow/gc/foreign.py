"""Objects of other programs that stand under keys of casflow's shape.

Owns how they are told from damaged references. Invariant: what could be a damaged reference is
never taken for a foreign object: a reference that lost bytes, or of which some changed, still
counts as one that cannot be read.
"""

from __future__ import annotations

import ast
import json
import pickletools
from contextlib import suppress
from io import BytesIO

from casflow.reference import LARGEST

_PICKLE = 0x80  # first byte of a pickle of protocol 2 or newer
_ENVELOPE = {"flow", "versions"}  # keys of a flow as Prefect 1 stored it, with its versions
_KEYS = frozenset({"format", "flow", "digest", "incarnation", "media_type", "attachments"})


def is_foreign(data: bytes) -> bool:
    """Tell whether bytes that are no reference are surely another program's.

    Such are whole pickles and envelopes of them (Prefect 1 stored flows under the same keys),
    Python scripts, JSON objects without any key of a reference, and anything bigger than a
    reference can be.
    """
    if len(data) > LARGEST:
        return True
    return bool(data) and (_is_pickle(data) or _is_other_json(data) or _is_script(data))


def _is_pickle(data: bytes) -> bool:
    """Tell whether bytes are one pickle; nothing is loaded."""
    if data[0] != _PICKLE:
        return False
    stream = BytesIO(data)
    with suppress(Exception):  # it raises whatever the damage leads to
        for _ in pickletools.genops(stream):
            pass
        return stream.tell() == len(data)
    return False


def _is_other_json(data: bytes) -> bool:
    with suppress(ValueError, RecursionError):
        form = json.loads(data)
        if not isinstance(form, dict) or not form:
            return False
        return _KEYS.isdisjoint(form) or form.keys() == _ENVELOPE
    return False


def _is_script(data: bytes) -> bool:
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
        body = ast.parse(data).body
        return any(isinstance(each, ast.Import | ast.ImportFrom) for each in body)
    return False
