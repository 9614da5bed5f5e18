"""What happens in a Dask worker: a task of a flow that is read from the worker's own cache.

Owns the flows that a worker process keeps loaded. Invariant: they are kept by digest, so a flow
that was changed and registered again is never taken for its old self.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import WorkerPlugin

from casflow import secrets
from casflow.errors import CasflowError, IntegrityError
from casflow.flow.parallel import packed_state, unpack, unpack_cached
from casflow.flow.run import Job
from casflow.storage.plugins import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from casflow.flow import Flow

log = logging.getLogger("casflow.dask")

_MAX_FLOWS = 16
_flows: OrderedDict[str, Flow] = OrderedDict()
_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class Address:
    """Where a flow is read from, and what it is.

    Attributes:
        name: The flow's name.
        digest: Digest of its blob.
        storage: JSON form of its storage with this one flow; holds no secret.
    """

    name: str
    digest: str
    storage: Mapping[str, Any]


class Prefetch(WorkerPlugin):
    """Brings a flow into the cache of every worker's machine, also of those that come later."""

    idempotent = True

    def __init__(self, address: Address) -> None:
        self.address = address
        self.name = f"casflow-{address.digest}"

    def setup(self, worker: Any) -> None:  # noqa: ARG002 - the plug-in interface
        """Fetch it; what cannot be had now is had when a task needs it."""
        try:
            with _secrets_of(self.address):
                load(self.address.storage).prefetch(self.address.name)
        except CasflowError as error:
            log.warning("cannot prefetch %s: %s", self.address.name, error)


def run_task(address: Address, slug: str, packed: bytes, result: bytes) -> bytes:
    """Run a task of a flow; return its packed state.

    Args:
        address: The flow.
        slug: Which task.
        packed: Its arguments, context and way to sleep.
        result: Its result, packed; tasks with the same one share what it has opened.

    Raises:
        CasflowError: The flow cannot be had here.
    """
    with _secrets_of(address):
        flow = open_flow(address)
        (call,) = (each for each in flow.calls if each.slug == slug)
        arguments, context, sleep = unpack(packed)
        return packed_state(Job(call, arguments, unpack_cached(result), context, sleep))


def open_flow(address: Address) -> Flow:
    """Return a flow of this process, loaded once.

    Raises:
        IntegrityError: What the storage holds is not what was asked for.
    """
    with _loading:
        if address.digest not in _flows:
            opened = load(address.storage).load_flow(address.name)
            if opened.reference.digest != address.digest:
                raise IntegrityError(
                    "the storage holds another flow",
                    where=address.name,
                    expected=address.digest,
                    actual=opened.reference.digest,
                )
            _flows[address.digest] = opened.flow
        _flows.move_to_end(address.digest)
        while len(_flows) > _MAX_FLOWS:
            _flows.popitem(last=False)
        return _flows[address.digest]


@contextmanager
def _secrets_of(address: Address) -> Iterator[None]:
    names = address.storage.get("secrets") or ()
    with secrets.given({name: secrets.Secret(name).get() for name in names}):
        yield
