"""Flows that Prefect 1 stored: envelopes and bare pickles under `<slug>/<timestamp>` keys.

Owns how they are found, and how one is loaded. Invariant: to find them nothing is loaded; to load
one runs its code, since there is no digest that it could be held to, and is for callers whose user
said so.
"""

from __future__ import annotations

import base64
import json
import pickle
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from casflow.errors import LoadError
from casflow.flow.context import loading_flow
from casflow.flow.foreign import can_be_flow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from casflow.blobs.base import BlobStore

_KEY = re.compile(r"[a-z0-9-]*/(\d{4}-\d\d-\d\dt\d\d-\d\d-\d\d)(?:-(\d{6}))?-00-00")
_LARGEST = 1 << 30  # bytes of an object that is looked at
_PICKLE = b"\x80"  # first byte of a pickle of protocol 2 or newer


@dataclass(frozen=True, slots=True)
class OldFlow:
    """A flow as Prefect 1 stored it.

    Attributes:
        key: Where it stands.
        moment: When it was stored, as its key says.
        data: Its pickle.
        versions: What it was stored with: `cloudpickle`, `prefect`, `python`.
    """

    key: str
    moment: datetime
    data: bytes
    versions: Mapping[str, str] = field(default_factory=dict)


def find_flows(store: BlobStore) -> Iterator[OldFlow]:
    """Yield the flows that Prefect 1 stored, in the order of their moments.

    Raises:
        CasflowError: The store refused or failed.
    """
    found = [(each, _moment(each.key)) for each in store.list() if each.size <= _LARGEST]
    dated = [(moment, each.key) for each, moment in found if moment is not None]
    for moment, key in sorted(dated):
        flow = _read(key, moment, store.get(key))
        if flow is not None:
            yield flow


def _moment(key: str) -> datetime | None:
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    try:
        moment = datetime.strptime(match[1], "%Y-%m-%dt%H-%M-%S").replace(tzinfo=UTC)
    except ValueError:  # there is no such day
        return None
    return moment.replace(microsecond=int(match[2] or 0))


def _read(key: str, moment: datetime, data: bytes) -> OldFlow | None:
    """Return what an object holds, or None where it is something else, such as a reference."""
    if data.startswith(_PICKLE):
        return OldFlow(key, moment, data)
    try:
        form: Any = json.loads(data)
        versions, flow = form["versions"], base64.b64decode(form["flow"], validate=True)
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    if not isinstance(versions, dict):
        return None
    return OldFlow(key, moment, flow, {str(name): str(each) for name, each in versions.items()})


def load(old: OldFlow) -> Any:
    """Load a flow, which runs whatever its pickle says; it keeps no storage of Prefect.

    Raises:
        LoadError: It cannot be loaded here, or is no flow.
    """
    try:
        with loading_flow():
            flow: Any = pickle.loads(old.data)
    except Exception as error:
        made = ", ".join(f"{name} {version}" for name, version in sorted(old.versions.items()))
        what = f"cannot be loaded ({type(error).__name__}: {error})"
        hint = f"it was stored with {made}" if made else "install what it imports"
        raise LoadError(what, where=old.key, hint=hint) from error
    if not can_be_flow(flow):
        raise LoadError(f"holds a {type(flow).__name__}, no flow", where=old.key)
    if getattr(flow, "storage", None) is not None:  # it names the old key: no two would be alike
        flow.storage = None
    return flow
