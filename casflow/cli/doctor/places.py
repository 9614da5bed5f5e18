"""The checks of `casflow doctor` that look at stores, and at what their storages need.

Owns which places are looked at: the settings' own and those that current versions name. Invariant:
each place is one line, whatever else is broken.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING, Any

from casflow.blobs import layout
from casflow.cli.doctor.finding import BROKEN, OK, WARNING, Finding, run_check
from casflow.errors import CasflowError
from casflow.registry import Registry
from casflow.secrets import Secret
from casflow.storage import load
from casflow.storage.blob import BlobStorage
from casflow.storage.docker import Docker
from casflow.storage.urls import open_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casflow.blobs.base import BlobStore
    from casflow.config import Config
    from casflow.registry import Version


def check_places(settings: Config, *, can_ask: bool) -> list[Finding]:
    """Return what the checks of packages, secrets, stores and engines find."""
    versions: list[Version] = []
    if can_ask:
        with Registry(settings.registry) as registry:
            versions = registry.flows()
    found = run_check("storage", partial(_default_storage, settings))
    found += run_check("store", partial(_store, settings.store or str(settings.flows_dir)))
    seen: set[str] = {settings.store or str(settings.flows_dir)}
    for version in versions:
        found += run_check("flows", partial(_of_version, version, seen))
    return found


def _default_storage(settings: Config) -> Iterator[Finding]:
    module, _, name = settings.default_storage.rpartition(".")
    try:
        getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        what = f"{settings.default_storage} cannot be imported ({error})"
        mend = f"set default_storage (it comes from {settings.origins['default_storage']})"
        if isinstance(error, CasflowError) and error.hint:
            mend = error.hint
        yield Finding("storage", BROKEN, what, mend)
    else:
        yield Finding("storage", OK, f"new flows go to {settings.default_storage}")


def _store(url: str) -> Iterator[Finding]:
    yield _look_into(open_url(url))


def _look_into(store: BlobStore) -> Finding:
    """Ask a store for what every store has, which takes the credentials that all else takes."""
    if store.find(layout.FORMAT) is not None:
        return Finding("store", OK, f"{store.url} answers")
    if any(store.list(layout.BLOBS)):
        mend = f"casflow verify --repair {store.url}"
        return Finding("store", WARNING, f"{store.url} has no mark of its format", mend)
    return Finding("store", OK, f"{store.url} answers; nothing is stored there yet")


def _of_version(version: Version, seen: set[str]) -> Iterator[Finding]:
    """Look at the place of a version, unless it was looked at, and at the secrets that it needs."""
    storage = load(version.storage)
    missing = [name for name in storage.secrets if not _is_there(name)]
    if missing:
        mend = "set it in the environment or in secrets.toml of the home"
        yield Finding("secrets", BROKEN, f"{version.flow}: {missing[0]} is missing", mend)
    if isinstance(storage, BlobStorage):
        store = storage.open_store()
        if store.url not in seen:
            seen.add(store.url)
            yield _look_into(store)
    elif isinstance(storage, Docker):
        yield from _engine(seen)
    elif (name := type(storage).__name__) not in seen:
        seen.add(name)
        yield Finding("flows", OK, f"{name}: managed by its host")


def _is_there(name: str) -> bool:
    try:
        Secret(name).get()
    except CasflowError:
        return False
    return True


def _engine(seen: set[str]) -> Iterator[Finding]:
    from casflow import config
    from casflow.storage.docker.engine import Engine, engine_errors

    address = config.docker_host()
    if address in seen:
        return
    seen.add(address)
    engine: Any = Engine(None)
    with engine_errors(address):
        version = engine.client.version()["Version"]
    yield Finding("docker", OK, f"{address}, {version}")
