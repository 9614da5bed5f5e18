"""JSON of answers, read with types.

Invariant: what a host sends is either of the type that is asked for, or an `IntegrityError` that
names the member; no other exception leaves this module, however the JSON is made.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from casflow.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.http.answer import Answer

T = TypeVar("T")
_HINT = "is this the address of the host's API?"


def read_object(answer: Answer, *, where: str) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        IntegrityError: It is not JSON, or no object.
    """
    form = parse(answer.body)
    if form is None:
        raise IntegrityError("the answer is not JSON", where=where, hint=_HINT)
    if not isinstance(form, dict):
        raise IntegrityError("the answer is no JSON object", where=where, hint=_HINT)
    return form


def parse(data: bytes) -> Any:
    """Return what JSON says, or None when the bytes are none or are nested too deeply."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def member(form: Mapping[str, Any], name: str, kind: type[T], *, where: str) -> T:
    """Return a member of an object; of a nested one by its path, such as `target.hash`.

    Raises:
        IntegrityError: There is none, or it is of another type.
    """
    found: Any = form
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if not isinstance(found, kind) or isinstance(found, bool) is not (kind is bool):
        what = f"the answer has no {name!r} that is a {kind.__name__}"
        raise IntegrityError(what, where=where, hint=_HINT)
    return found


def items(form: Mapping[str, Any], name: str, *, where: str) -> list[dict[str, Any]]:
    """Return a list of objects; an absent or null member is an empty one.

    Raises:
        IntegrityError: It is something else.
    """
    found = form.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        what = f"the answer's {name!r} is no list of objects"
        raise IntegrityError(what, where=where, hint=_HINT)
    return found
