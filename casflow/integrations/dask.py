"""Dask as the executor of a flow's tasks.

Owns the connection to a Dask cluster. Invariant: of a flow that is stored, its digest, its
storage's address and a task's arguments travel, never its pickle; workers read it from their own
cache. A flow that is not stored, or no longer what is stored, travels as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from casflow.digests import digest_of
from casflow.errors import MissingExtraError, UnavailableError
from casflow.flow.parallel import JobExecutor, attempt_packed, pack, pack_job
from casflow.reference import PICKLE, SCRIPT

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from casflow.flow import Flow
    from casflow.flow.run import Job
    from casflow.integrations.dask_worker import Address


class DaskExecutor(JobExecutor):
    """An executor for `flow.run(executor=...)` on a Dask cluster; a context manager.

    casflow has to be installed on the workers.

    Args:
        address: Address of the scheduler, such as `tcp://10.0.0.1:8786`; a cluster of this
            machine's own when None.
        **options: What `distributed.Client` takes.

    Raises:
        MissingExtraError: distributed is not installed.
        UnavailableError: The scheduler does not answer.
    """

    def __init__(self, address: str | None = None, **options: Any) -> None:
        self._client = connect(address, **options)
        self._executor = self._client.get_executor(pure=False)
        self._addresses: WeakKeyDictionary[Flow, Address | None] = WeakKeyDictionary()
        self._plugins: set[str] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a function as to any executor."""
        future: Future[Any] = self._executor.submit(fn, *args, **kwargs)
        return future

    def submit_job(self, flow: Flow, job: Job) -> Future[Any]:
        """Submit a task of a flow: by digest where it is stored."""
        address = self._address(flow)
        if address is None:
            return self.submit(attempt_packed, *pack_job(job))
        from casflow.integrations.dask_worker import run_task

        packed = pack(((job.args, job.kwargs), job.context, job.sleep))
        return self.submit(run_task, address, job.slug, packed, pack(job.result))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Take the plug-ins off the workers and leave the cluster."""
        self._executor.shutdown(wait=wait and not cancel_futures)
        for name in self._plugins:
            self._client.unregister_worker_plugin(name)
        self._plugins.clear()
        self._client.close()

    def _address(self, flow: Flow) -> Address | None:
        if flow not in self._addresses:
            address = self._addresses[flow] = find_address(flow)
            if address is not None:
                self._prefetch(address)
        return self._addresses[flow]

    def _prefetch(self, address: Address) -> None:
        from casflow.integrations.dask_worker import Prefetch

        plugin = Prefetch(address)
        if plugin.name not in self._plugins:
            self._client.register_plugin(plugin)
            self._plugins.add(plugin.name)


def connect(address: str | None, **options: Any) -> Any:
    """Return a client of a Dask cluster.

    Raises:
        MissingExtraError: distributed is not installed.
        UnavailableError: The scheduler does not answer.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError("distributed", "dask") from error
    try:
        return Client(address, **options)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError) as error:
        hint = "check that it runs and try again"
        raise UnavailableError(
            "the Dask scheduler does not answer", where=address, hint=hint
        ) from error


def find_address(flow: Flow) -> Address | None:
    """Return where workers read a flow, or None when what is stored is not what is here."""
    from casflow.integrations.dask_worker import Address

    storage, name = flow.storage, flow.name
    reference = getattr(storage, "references", {}).get(name)
    if reference is None or not _is_still(flow, reference.media_type, reference.digest):
        return None
    form = storage.serialize()
    for each in ("flows", "references"):
        form[each] = {name: form[each][name]}
    return Address(name, reference.digest, form)


def _is_still(flow: Flow, media_type: str, digest: str) -> bool:
    if media_type == PICKLE:
        from casflow.serialize import serialize

        return digest_of(serialize(flow).data) == digest
    return media_type == SCRIPT
