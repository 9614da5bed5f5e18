"""Which stores a command is about, and what the registry needs of each.

Owns the way from a command's STORE arguments, or the registry when there are none, to blob stores.
Invariant: whatever a current version or a waiting or running run names is among the claims.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from casflow import config
from casflow.blobs import layout
from casflow.errors import ConfigError, IntegrityError, NotFoundError
from casflow.gc import Claims
from casflow.gc.scan import key_of
from casflow.reference import Reference
from casflow.registry import Registry, RunState
from casflow.storage import load
from casflow.storage.blob import BlobStorage
from casflow.storage.docker import Docker
from casflow.storage.docker.names import ImageName
from casflow.storage.urls import open_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from casflow.blobs.base import BlobStore
    from casflow.blobs.content import Commit
    from casflow.registry import Version
    from casflow.registry.validation import Damage


logger = logging.getLogger(__name__)


@dataclass(slots=True)
class KnownStores:
    """What the registry knows of where flows are.

    Attributes:
        stores: The stores that versions name, by URL; the default folder is always among them.
        flows: Project and name of the flows in each, by URL.
        versions: Versions in each store, by URL and key of their reference.
        hosted: Kinds of storages whose hosts manage what they hold, such as `GitHub`.
        images: Versions that stand in images of a registry, by repository.
        engine_images: Versions that stand in images of an engine alone, by repository.
        wanted: Rows of the versions that are current, or that waiting or running runs name.
        keys: Keys of references that current versions and waiting or running runs name.
        digests: Digests of those without a reference of their own.
    """

    stores: dict[str, BlobStore] = field(default_factory=dict)
    flows: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    versions: dict[str, dict[str, list[Version]]] = field(default_factory=dict)
    hosted: set[str] = field(default_factory=set)
    images: dict[str, list[Version]] = field(default_factory=dict)
    engine_images: dict[str, list[Version]] = field(default_factory=dict)
    wanted: set[int] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)

    def claims(self, store: BlobStore, *, all_flows: bool = False) -> Claims:
        """Return what the registry needs of a store."""
        flows = None if all_flows else frozenset(self.flows.get(store.url, ()))
        versions = self.versions.get(store.url, {})
        return Claims(
            frozenset(self.keys),
            frozenset(self.digests),
            flows,
            {key: frozenset(each.project for each in some) for key, some in versions.items()},
            {key: _reference(some[-1]) for key, some in versions.items()},
        )

    def choose(self, urls: Iterable[str]) -> list[BlobStore]:
        """Return the stores at some URLs, or all known ones.

        Raises:
            NotFoundError: There is no store of casflow at a URL.
        """
        chosen = [self._open(url) for url in urls]
        return chosen or list(self.stores.values())

    def _open(self, url: str) -> BlobStore:
        store = open_url(url)
        store = self.stores.get(store.url, store)  # with the options of its storage
        if store.find(layout.FORMAT) is None and not any(store.list(layout.BLOBS)):
            raise NotFoundError("no store of casflow", where=store.url)
        return store

    def _add(self, version: Version) -> None:
        storage = load(version.storage)
        if isinstance(storage, Docker):
            self._add_image(version, in_registry=bool(storage.registry_url))
            return
        if not isinstance(storage, BlobStorage):
            self.hosted.add(type(storage).__name__)
            return
        store = storage.open_store()
        self.stores.setdefault(store.url, store)
        self.flows.setdefault(store.url, set()).add((version.project, version.flow))
        if version.reference is not None and storage.key is None:
            try:
                key = key_of(_reference(version))
            except IntegrityError as error:  # one bad row must not stop what the others need
                logger.warning("version %s of %s: %s", version.number, version.flow, error)
            else:
                self.versions.setdefault(store.url, {}).setdefault(key, []).append(version)

    def _add_image(self, version: Version, *, in_registry: bool) -> None:
        try:
            name = ImageName.parse(version.location).untagged
        except ConfigError as error:  # one bad row must not stop what the others need
            logger.warning("version %s of %s: %s", version.number, version.flow, error)
            return
        images = self.images if in_registry else self.engine_images
        images.setdefault(name, []).append(version)

    def _claim(self, version: Version) -> None:
        self.wanted.add(version.id)
        if version.reference is not None:
            try:
                self.keys.add(key_of(_reference(version)))
            except IntegrityError:
                pass
            else:
                return
        self.digests.add(version.digest)

    def _claim_damaged(self, damage: Damage) -> None:
        """Keep whatever a version that cannot be read may name."""
        if damage.location:
            self.keys.add(damage.location)
        if damage.digest:
            self.digests.add(damage.digest)


def _reference(version: Version) -> Reference:
    return Reference.from_dict(version.reference or {}, where=version.location)


def known() -> KnownStores:
    """Read the registry.

    Raises:
        CasflowError: It cannot be read, or a storage that it names cannot be opened.
    """
    settings = config.load()
    found = KnownStores()
    default = open_url(str(settings.flows_dir))
    found.stores[default.url] = default
    with Registry(settings.registry) as registry:
        for latest in registry.flows():
            found._claim(latest)  # noqa: SLF001 - made here
            for version in registry.versions(latest.project, latest.flow):
                found._add(version)  # noqa: SLF001
        for version in _wanted(registry):
            found._claim(version)  # noqa: SLF001
        for damage in registry.damage():
            found._claim_damaged(damage)  # noqa: SLF001
    return found


def record_renewed(versions: Mapping[str, list[Version]], renewed: Mapping[str, Commit]) -> None:
    """Let versions of the registry name the references that were made in place of lost ones.

    Args:
        versions: The versions, by the keys of the references that they name.
        renewed: The new references, by the same keys.
    """
    if not renewed:
        return
    with Registry(config.load().registry) as registry:
        for key, commit in renewed.items():
            for version in versions.get(key, ()):
                storage = load(version.storage)
                if isinstance(storage, BlobStorage):
                    storage.flows[version.flow] = storage.location_of(commit.key)
                    storage.references[version.flow] = commit.reference
                    registry.update_reference(
                        version,
                        reference=commit.reference.to_dict(),
                        storage=storage.serialize(),
                        location=storage.flows[version.flow],
                    )


def _wanted(registry: Registry) -> Iterator[Version]:
    """Yield the versions that waiting and running runs name."""
    named = {
        (run.project, run.flow, run.version)
        for state in (RunState.SCHEDULED, RunState.RUNNING)
        for run in registry.runs(state=state, limit=None)
    }
    for project, flow, version in named:
        yield registry.get_version(project, flow, version)
