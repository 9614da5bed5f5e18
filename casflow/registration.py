"""Registration: the road down, from a flow to a version in the registry.

Owns what counts as a new version. Invariant: the registry names a version only after everything
that it names is stored; a flow that is registered unchanged changes nothing anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from casflow import config
from casflow.errors import ConfigError
from casflow.reference import Reference, check_name
from casflow.storage.known import default_class

if TYPE_CHECKING:
    from collections.abc import Iterable

    from casflow.flow import Flow
    from casflow.registry import Registry, Version
    from casflow.storage.base import Storage

DEFAULT_PROJECT = "default"


@dataclass(frozen=True, slots=True)
class Registration:
    """What a registration did.

    Attributes:
        flow: Name of the flow.
        project: Project that it is registered in.
        version: Number of its version, from 1.
        digest: Digest of its content.
        location: Where its storage keeps it.
        is_new: Whether this is a new version.
        uploaded_bytes: Bytes that had to be written to the storage.
    """

    flow: str
    project: str
    version: int
    digest: str
    location: str
    is_new: bool
    uploaded_bytes: int

    @property
    def status(self) -> str:
        """`registered` or `unchanged`."""
        return "registered" if self.is_new else "unchanged"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form that the command line prints."""
        keys = ("flow", "version", "digest", "location", "status", "uploaded_bytes")
        return {key: getattr(self, key) for key in keys}


@dataclass(frozen=True, slots=True)
class Request:
    """How a flow shall be registered."""

    project: str = DEFAULT_PROJECT
    labels: tuple[str, ...] = ()
    idempotency_key: str | None = None
    build: bool = True
    force: bool = False


def register(
    flow: Flow,
    *,
    project: str | None = None,
    build: bool = True,
    labels: Iterable[str] | None = None,
    idempotency_key: str | None = None,
    force: bool = False,
    registry: Registry | None = None,
    **storage_options: Any,
) -> Registration:
    """Store a flow and record its version.

    Args:
        flow: The flow.
        project: Project to register it in, made when it does not exist.
        build: Whether the storage stores the flow; if not, it must be stored already.
        labels: Labels besides those of the storage.
        idempotency_key: When the latest version has the same key, nothing is done.
        force: Make a new version even of an unchanged flow.
        registry: Where to record it; the one in the settings when left out.
        storage_options: Parameters of the default storage, for a flow without one.

    Raises:
        CasflowError: It could not be stored or recorded.
    """
    name = check_name(getattr(flow, "name", None))
    request = Request(
        project or DEFAULT_PROJECT, tuple(labels or ()), idempotency_key, build, force
    )
    storage = _storage_of(flow, storage_options)
    if registry is not None:
        return _register(flow, name, storage, request, registry)
    from casflow.registry import Registry

    with Registry(config.load().registry) as opened:
        return _register(flow, name, storage, request, opened)


def _storage_of(flow: Flow, options: dict[str, Any]) -> Storage:
    storage: Storage | None = getattr(flow, "storage", None)
    if storage is None:
        storage = default_class()(**options)
        flow.storage = storage
    elif options:
        raise ConfigError(f"the flow has a storage already; unexpected {min(options)!r}")
    if getattr(flow, "result", None) is None:
        flow.result = storage.result
    return storage


def _register(
    flow: Flow, name: str, storage: Storage, request: Request, registry: Registry
) -> Registration:
    with registry.exclusive(request.project, name):
        latest = registry.find_latest(request.project, name)
        key = request.idempotency_key
        if latest is not None and key is not None and latest.idempotency_key == key:
            return _unchanged(latest, 0)
        _store(flow, name, storage, request, latest)
        return _record(name, storage, request, registry, latest)


def _store(
    flow: Flow, name: str, storage: Storage, request: Request, latest: Version | None
) -> None:
    if name not in storage:
        storage.hold(flow)
    if not request.build:
        return
    known = None
    if latest is not None and latest.reference and not request.force:
        known = Reference.from_dict(latest.reference, where=latest.location)
    storage.build(labels=request.labels, known={name: known} if known is not None else None)


def _record(
    name: str, storage: Storage, request: Request, registry: Registry, latest: Version | None
) -> Registration:
    reference = storage.reference(name)
    labels = tuple(sorted({*storage.labels, *request.labels}))
    form = _form_of_one(storage, name)
    uploaded = storage.uploaded.get(name, 0)
    if latest is not None and not request.force and _same(latest, reference, labels, form):
        if latest.reference != reference.to_dict():  # only an attachment differs
            latest = registry.update_reference(
                latest, reference=reference.to_dict(), storage=form, location=storage.flows[name]
            )
        return _unchanged(latest, uploaded)
    version = registry.add_version(
        project=request.project,
        flow=name,
        digest=reference.digest,
        storage=form,
        reference=reference.to_dict(),
        labels=labels,
        location=storage.flows[name],
        idempotency_key=request.idempotency_key,
    )
    return _registration(version, is_new=True, uploaded=uploaded)


def _form_of_one(storage: Storage, name: str) -> dict[str, Any]:
    """Return a storage's JSON form with one of its flows: a version is of one flow."""
    form = storage.serialize()
    for part in ("flows", "references"):
        form[part] = {key: value for key, value in form[part].items() if key == name}
    return form


def _same(
    latest: Version, reference: Reference, labels: tuple[str, ...], form: dict[str, Any]
) -> bool:
    same_place = _place(latest.storage) == _place(form)
    same_labels = tuple(latest.labels) == labels
    return latest.digest == reference.digest and same_labels and same_place


def _place(form: Any) -> dict[str, Any]:
    return {key: value for key, value in form.items() if key not in ("flows", "references")}


def _unchanged(version: Version, uploaded: int) -> Registration:
    return _registration(version, is_new=False, uploaded=uploaded)


def _registration(version: Version, *, is_new: bool, uploaded: int) -> Registration:
    return Registration(
        flow=version.flow,
        project=version.project,
        version=version.version,
        digest=version.digest,
        location=version.location,
        is_new=is_new,
        uploaded_bytes=uploaded,
    )
