"""Registration: the road down, from a flow to a version in the registry.

Owns what counts as a new version. Invariant: the registry names a version only after everything
that it names is stored; a flow that is registered unchanged changes nothing anywhere.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from casflow import config, signing
from casflow.errors import CasflowError, ConfigError, ConflictError
from casflow.flow import Flow
from casflow.reference import PICKLE, Reference
from casflow.registry import DEFAULT_PROJECT, Registry, check_labels, check_project
from casflow.storage.base import Storage
from casflow.storage.content import name_of
from casflow.storage.plugins import default_class, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from casflow.registry import Version
    from casflow.signing import SigningKey

logger = logging.getLogger(__name__)

_MAX_DIFFERENCES = 5  # differences; the first ones say enough


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
    """How flows shall be registered.

    Attributes:
        project: Project to register them in, made when it does not exist.
        labels: Labels besides those of the storage.
        idempotency_key: When the latest version has the same key, nothing is done.
        build: Whether the storage stores the flows; if not, they must be stored already.
        force: Make a new version even of an unchanged flow.
        key: Signs the flows, also those that are unchanged.
        loads_new: Whether a pickle that is new is loaded in a clean process before it is stored.
    """

    project: str = DEFAULT_PROJECT
    labels: tuple[str, ...] = ()
    idempotency_key: str | None = None
    build: bool = True
    force: bool = False
    key: SigningKey | None = None
    loads_new: bool = False

    @classmethod
    def checked(cls, project: str | None, labels: Iterable[str] | None, **rest: Any) -> Request:
        """Return a request whose project and labels are well formed."""
        return cls(check_project(project), check_labels(labels or ()), **rest)


def register(
    flow: Flow,
    *,
    project: str | None = None,
    build: bool = True,
    labels: Iterable[str] | None = None,
    idempotency_key: str | None = None,
    force: bool = False,
    storage: Storage | str | None = None,
    sign: bool | str = False,
    **storage_options: Any,
) -> Registration:
    """Store a flow and record its version in the registry of the settings.

    Args:
        flow: The flow, or any object with a name that can be pickled.
        project: Project to register it in, made when it does not exist.
        build: Whether the storage stores the flow; if not, it must be stored already.
        labels: Labels besides those of the storage.
        idempotency_key: When the latest version has the same key, nothing is done.
        force: Make a new version even of an unchanged flow.
        storage: Where to store it, in place of its own storage; of an object that cannot be told
            its storage, such as a function.
        sign: Sign the version, also an unchanged one: with the user's key, or the named one.
        storage_options: Parameters of the default storage, for a flow without one.

    Raises:
        CasflowError: It could not be stored or recorded.
    """
    request = Request.checked(
        project,
        labels,
        idempotency_key=idempotency_key,
        build=build,
        force=force,
        key=None if sign is False else signing.SigningKey.asked(sign),
    )
    if isinstance(storage, str):
        storage = storage_at(storage)
    storage = assign_storage(flow, storage_options, storage=storage)
    with Registry(config.load().registry) as registry:
        return register_all(storage, [flow], request, registry)[0]


def assign_storage(
    flow: Flow, options: Mapping[str, Any] | None = None, *, storage: Storage | None = None
) -> Storage:
    """Return the storage of a flow; a flow without one gets the default storage.

    Objects of others (a function, another library's flow) are not told: it would change them.

    Args:
        flow: The flow.
        options: Parameters of the default storage.
        storage: Another one, in place of the flow's own.

    Raises:
        ConfigError: It has no name, or options are given for a storage that it has already.
    """
    name = name_of(flow)
    storage = storage or getattr(flow, "storage", None)
    if storage is None:
        storage = _default_storage(options or {})
    elif not isinstance(storage, Storage):
        kind = f"{type(storage).__module__}.{type(storage).__qualname__}"
        hint = "name one of casflow's in register(flow, storage=...) or --storage"
        raise ConfigError(f"the flow's storage is a {kind}", where=name, hint=hint)
    elif options:
        raise ConfigError(f"the flow has a storage already; unexpected {min(options)!r}")
    if isinstance(flow, Flow):
        flow.storage = storage
    return storage


def storage_at(url: str) -> Storage:
    """Return the storage at a URL such as `s3://bucket`, or in a folder by its path.

    Raises:
        ConfigError: It is no URL of a storage.
    """
    from casflow.storage.urls import storage_of

    return storage_of(url)


def _default_storage(options: Mapping[str, Any]) -> Storage:
    kind = default_class()
    try:
        return kind(**options)
    except TypeError as error:  # parameters that it needs, or does not know
        hint = "give the flow a storage, or change CASFLOW_DEFAULT_STORAGE"
        what = f"the default storage cannot be made ({error})"
        raise ConfigError(what, where=kind.__name__, hint=hint) from error


def register_all(
    storage: Storage, flows: Sequence[Flow], request: Request, registry: Registry
) -> list[Registration]:
    """Register flows that share a storage, which is built once for all of them.

    Raises:
        CasflowError: They could not be stored or recorded.
    """
    return _register_named(storage, {name_of(each): each for each in flows}, request, registry)


def register_stored(
    storage: Storage, names: Iterable[str], request: Request, registry: Registry
) -> list[Registration]:
    """Register flows that a storage holds already; none of them is loaded.

    Raises:
        CasflowError: They could not be recorded.
    """
    named = dict.fromkeys(names)
    return _register_named(storage, named, replace(request, build=False), registry)


def _register_named(
    storage: Storage, named: Mapping[str, Flow | None], request: Request, registry: Registry
) -> list[Registration]:
    with ExitStack() as locks:
        for name in sorted(named):  # one order for all, so that no two wait for each other
            locks.enter_context(registry.lock(request.project, name))
        storage.flow_project, storage.rewrite = request.project, request.force
        storage.loads_new = request.loads_new
        retried = False
        while True:
            latest = {name: registry.find_latest(request.project, name) for name in named}
            key = request.idempotency_key
            repeated = [each for each in latest.values() if each and each.idempotency_key == key]
            if key is not None and len(repeated) == len(named):
                return [_registration(each, is_new=False) for each in repeated]
            for name, flow in named.items():
                if flow is not None:
                    storage.add_or_replace(name, flow)
            if request.build:
                # What the latest versions refer to need not be searched for in the store.
                known = {
                    name: Reference.from_dict(version.reference, where=version.location)
                    for name, version in latest.items()
                    if version and version.reference is not None and not request.force
                }
                storage.build(labels=request.labels, known=known)
            try:
                return [_record(name, storage, request, registry, latest[name]) for name in named]
            except ConflictError:  # another registration came in between, without the lock
                if retried:
                    raise
                retried = True


def _record(
    name: str, storage: Storage, request: Request, registry: Registry, latest: Version | None
) -> Registration:
    """Add a version to the registry, unless the latest one says the same."""
    reference = storage.reference(name)
    if latest is not None:
        before = latest.storage.get("signatures", {}).get(name, ())
        storage.take_over_signatures(name, reference, before)
    if request.key is not None:
        storage.sign(name, reference, request.key)
    form, location = storage.serialize(only=name), storage.flows[name]
    labels = tuple(sorted({*storage.labels, *request.labels}))
    uploaded = storage.uploaded.get(name, 0)
    if latest is not None and not request.force and _is_same(latest, form, reference, labels):
        signed = form.get("signatures") != latest.storage.get("signatures")
        if signed or latest.reference != reference.to_dict():  # only an attachment differs
            latest = registry.update_reference(
                latest, reference=reference.to_dict(), storage=form, location=location
            )
        return _registration(latest, is_new=False, uploaded=uploaded)
    by_digest = request.idempotency_key is None
    if latest is not None and by_digest and _is_nondeterministic(latest, reference):
        _warn_of_differences(latest, storage, name)
    version = registry.add_version(
        project=request.project,
        flow=name,
        digest=reference.digest,
        storage=form,
        reference=reference.to_dict(),
        labels=labels,
        location=location,
        idempotency_key=request.idempotency_key,
        after=0 if latest is None else latest.number,
    )
    return _registration(version, is_new=True, uploaded=uploaded)


def _is_same(
    latest: Version, form: Mapping[str, Any], reference: Reference, labels: tuple[str, ...]
) -> bool:
    """Tell whether a version has the same content and labels, in the same place."""
    of_flows = dict.fromkeys(("flows", "references", "signatures"))  # the rest says which place
    return (
        latest.digest == reference.digest
        and latest.labels == labels
        and {**latest.storage, **of_flows} == {**form, **of_flows}
    )


def _is_nondeterministic(latest: Version, reference: Reference) -> bool:
    """Tell whether a flow changed although all its files and versions are the same."""
    before = latest.reference or {}
    same_environment = before.get("environment") == dict(reference.environment)
    return (
        reference.media_type == PICKLE == before.get("media_type")
        and latest.digest != reference.digest
        and same_environment
        and bool(reference.environment.get("files"))
    )


def _warn_of_differences(latest: Version, storage: Storage, name: str) -> None:
    """Name the values by which a flow that nobody edited differs from its last version."""
    try:
        found = storage.differences(name, load(latest.storage))
    except CasflowError as error:
        logger.debug("version %s cannot be compared: %s", latest.number, error)
        return
    for difference in found[:_MAX_DIFFERENCES]:
        logger.warning(
            "flow %s is not reproducible: no file changed since version %s, but %s",
            *(name, latest.number, difference),
        )


def _registration(version: Version, *, is_new: bool, uploaded: int = 0) -> Registration:
    return Registration(
        flow=version.flow,
        project=version.project,
        version=version.number,
        digest=version.digest,
        location=version.location,
        is_new=is_new,
        uploaded_bytes=uploaded,
    )
