"""What every storage does: one way to store flows, and one way to read them.

Owns the road back: the cache is asked by digest before anything is downloaded, what is downloaded
is verified, and only verified bytes are loaded. Invariant: that happens in `Storage.load_flow` and
nowhere else; a subclass says only where bytes come from and where they go, and cannot forget it.
"""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Self

from casflow import cache, config, signing
from casflow.cache import Fetched
from casflow.errors import ConfigError, FlowNotInStorageError, IntegrityError
from casflow.reference import PICKLE, TREE
from casflow.storage.content import flow_from_bytes
from casflow.storage.named_flows import NamedFlows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from casflow.blobs.content import ContentStore, Draft
    from casflow.cache import Cache
    from casflow.flow import Flow
    from casflow.reference import BlobName, Reference
    from casflow.serialize.difference import Difference
    from casflow.trees.listing import Listing


@dataclass(frozen=True, slots=True)
class LoadedFlow:
    """A flow that was read, and what it took.

    Attributes:
        flow: The flow.
        reference: What was read.
        hit: Whether nothing had to be downloaded.
        downloaded: Bytes that were downloaded.
        seconds: Time from the question to the flow.
    """

    flow: Flow
    reference: Reference
    hit: bool
    downloaded: int
    seconds: float


class Storage(NamedFlows):
    """Where flows are kept.

    Attributes:
        flow_project: Project of the registration under way; references say it.
        rewrite: Whether `build` writes again also what seems to be stored.
        loads_new: Whether `build` loads a pickle that is new before it stores it.
    """

    flow_project: str = ""
    rewrite: bool = False
    loads_new: bool = False
    _cache: Cache | None = None

    concurrent_downloads: ClassVar[bool] = False
    """Whether threads may download several blobs of one flow at a time."""

    # ---- what a subclass says --------------------------------------------------------------

    @abstractmethod
    def store(self, flow: Flow, labels: tuple[str, ...], known: Reference | None) -> None:
        """Put one flow where it belongs: set `flows`, `references` and `uploaded` for it.

        Args:
            flow: A flow that was added.
            labels: Labels of the registration, sorted.
            known: The reference that the last registration made here; what it names already
                need not be written again.
        """

    @abstractmethod
    def resolve(self, name: str) -> Reference:
        """Ask the backend what the location of a flow holds."""

    @abstractmethod
    def download(self, name: str, blob: BlobName, target: BinaryIO) -> str:
        """Write a blob of a flow, not verified yet, to a file; return its address."""

    def store_script(self, path: Path) -> None:
        """Store the bytes of a script from now on, instead of a pickle.

        Raises:
            ConfigError: This kind of storage stores no bytes.
        """
        raise ConfigError(f"{self.name} storage does not store scripts", where=path)

    def suggest_script(self, path: Path) -> None:
        """Take the script that makes the flows, where a script is stored and none was named."""
        del path  # only storages that hold bytes store scripts

    def store_project(self, folder: Path, script: Path) -> None:
        """Store a whole folder with a script in it from now on, instead of a pickle.

        Raises:
            ConfigError: This kind of storage stores no folders, or the script is not in it.
        """
        del script
        raise ConfigError(f"{self.name} storage does not store projects", where=folder)

    def tree_source(self) -> ContentStore:
        """Return the content store that holds projects, and the tags of flows.

        Raises:
            ConfigError: This kind of storage has none.
        """
        raise ConfigError(
            f"{self.name} storage holds no bytes", hint="projects and tags need a store"
        )

    def reference(self, name: str) -> Reference:
        """Return what the location of a flow holds now; asked of the backend only if unknown."""
        if name not in self.references:
            self.references[name] = self.resolve(name)
        return self.references[name]

    # ---- the public face -------------------------------------------------------------------

    @property
    def cache(self) -> Cache:
        """This machine's cache."""
        if self._cache is None:
            self._cache = cache.default()
        return self._cache

    def add_or_replace(self, name: str, flow: Flow) -> None:
        """Add a flow that is registered; it takes the place of one that was made before it.

        Raises:
            ConfigError: A result of it has no possible location, or it cannot be stored so.
        """
        from casflow.flow import Flow
        from casflow.flow.checkpoint import check_locations

        if isinstance(flow, Flow):
            if flow.project is not None:
                self.store_project(*map(Path, flow.project))
            check_locations(flow, self)
        if self._flows.get(name, flow) is not flow:
            for each in (self.flows, self.references, self._flows):
                each.pop(name, None)
        if name not in self:
            self.add(flow)

    def build(
        self, labels: Iterable[str] = (), known: Mapping[str, Reference] | None = None
    ) -> Self:
        """Store every flow that was added; what is stored already is not written again.

        Args:
            labels: Further labels of the registration.
            known: For some flows, the reference that the last registration made.
        """
        every = tuple(sorted({*self.labels, *labels}))
        for name, flow in self._flows.items():
            self.store(flow, every, (known or {}).get(name))
        return self

    def check_loads(self, draft: Draft, known: Reference | None) -> None:
        """Load a pickle in a clean process if it is new, where that is asked for.

        Raises:
            LoadError: It does not load.
        """
        if self.loads_new and draft.media_type == PICKLE:
            digest = draft.names[""].digest
            if known is None or known.digest != digest:
                from casflow.serialize.clean import check_loads

                data = draft.data if isinstance(draft.data, bytes) else draft.data.read_bytes()
                check_loads(data, where=draft.flow)

    @property
    def logger(self) -> logging.Logger:
        """Where this kind of storage logs."""
        return logging.getLogger(type(self).__module__)

    def get_flow(self, flow_name: str) -> Flow:
        """Return a flow: from this machine's cache, or downloaded, and verified either way.

        Args:
            flow_name: Its name, or its location.

        Raises:
            FlowNotInStorageError: No flow of that name is here.
            IntegrityError: What is stored is not what was registered.
            LoadError: The bytes are right, but no flow could be made of them here.
        """
        if flow_name not in self.flows:  # Prefect's first releases named the location
            named = [name for name, location in self.flows.items() if location == flow_name]
            flow_name = named[0] if len(named) == 1 else flow_name
        return self.load_flow(flow_name).flow

    def load_flow(self, name: str, *, digest: str | None = None) -> LoadedFlow:
        """Return a flow as `get_flow` does, with what it took.

        Args:
            name: Name of the flow.
            digest: The only content that will do, also where the storage follows what moves.

        Raises:
            IntegrityError: It is not to be had with that digest, or is not what was registered.
            SignatureError: It is not signed as this machine's policy asks.
        """
        started = time.perf_counter()
        reference = self._find_reference(name) if digest is None else self._bound(name, digest)
        if reference.media_type == TREE:
            flow, downloaded = self._load_project(name, reference)
            hit = not downloaded
        else:
            fetched = self._fetch_all(name, reference)
            parts = zip(reference.attachments, fetched[1:], strict=True)
            attachments = {role: bytes(part.data) for role, part in parts}
            flow = flow_from_bytes(reference, fetched[0].data, attachments, where=self.flows[name])
            hit = all(each.hit for each in fetched)
            downloaded = sum(each.downloaded for each in fetched)
        _attach(flow, self)
        return LoadedFlow(flow, reference, hit, downloaded, time.perf_counter() - started)

    def _load_project(self, name: str, reference: Reference) -> tuple[Flow, int]:
        """Return the flow of a project, and the bytes that were downloaded for it."""
        from casflow.flow.project import flow_from_project
        from casflow.trees.listing import check_path

        folder, downloaded = self._checkout(name, reference)
        script = str(reference.environment.get("script", ""))
        check_path(script)
        return flow_from_project(folder, script, reference.flow), downloaded

    def _checkout(self, name: str, reference: Reference) -> tuple[Path, int]:
        """Return the folder of a project, and the bytes that were downloaded for it."""
        from casflow.trees.checkout import Checkouts

        standing = Checkouts(self.cache).find(reference.digest, full=True)
        return (standing, 0) if standing is not None else self.check_out(name, reference)

    def check_out(self, name: str, reference: Reference) -> tuple[Path, int]:  # noqa: ARG002
        """Make the folder of a project that is not here; return it, and the bytes downloaded."""
        from casflow.trees.fetch import TreeReader

        reader = TreeReader(self.tree_source(), self.cache, reference)
        return reader.folder_for_process(), reader.downloaded

    def get_listing(self, name: str) -> Listing:
        """Return the files of a flow that is stored as a project.

        Raises:
            ConfigError: It is not.
            FlowNotInStorageError: No flow of that name is here.
        """
        from casflow.trees.checkout import Checkouts

        reference = self._find_reference(name)
        if reference.media_type != TREE:
            raise ConfigError(f"not a tree but {reference.media_type}", where=name)
        known = Checkouts(self.cache).listing(reference.digest)
        return known if known is not None else self.read_listing(name, reference)

    def read_listing(self, name: str, reference: Reference) -> Listing:  # noqa: ARG002
        """Return the files of a project that this machine has not."""
        from casflow.trees.fetch import TreeReader

        return TreeReader(self.tree_source(), self.cache, reference).index.listing

    def get_bytes(self, name: str) -> bytes:
        """Return the verified bytes of a flow, without making a flow of them.

        Raises:
            FlowNotInStorageError: No flow of that name is here.
            IntegrityError: What is stored is not what was registered.
        """
        return bytes(self._fetch(name, self._find_reference(name).blob).data)

    def differences(self, name: str, other: Storage) -> list[Difference]:
        """Return by which values a pickled flow differs from what another storage holds of it.

        Raises:
            CasflowError: One of them cannot be read.
        """
        from casflow.serialize import explain

        return explain(other.get_bytes(name), self.get_bytes(name))

    def get_attachments(self, name: str) -> dict[str, bytes]:
        """Return the verified attachments of a flow by role.

        Raises:
            FlowNotInStorageError: No flow of that name is here.
            IntegrityError: What is stored is not what was registered.
        """
        reference = self._find_reference(name)
        return {
            role: bytes(self._fetch(name, blob).data)
            for role, blob in zip(reference.attachments, reference.blobs()[1:], strict=True)
        }

    def prefetch(self, name: str) -> bytes:
        """Bring all blobs of a flow into the cache; return the verified bytes of the first.

        Raises:
            FlowNotInStorageError: No flow of that name is here.
            IntegrityError: What is stored is not what was registered.
        """
        reference = self._find_reference(name)
        if reference.media_type == TREE:
            self._checkout(name, reference)
            return self.get_bytes(name)
        return bytes(self._fetch_all(name, reference)[0].data)

    def _find_reference(self, name: str) -> Reference:
        if name not in self.flows:
            raise FlowNotInStorageError("Flow is not contained in this Storage", where=name)
        return self._verified(name, self.reference(name))

    def _bound(self, name: str, digest: str) -> Reference:
        registered = self.references.get(name)
        if registered is not None and registered.digest == digest:
            found = self._verified(name, self.registered(name))
        else:
            found = self._find_reference(name)
        if found.digest != digest:
            raise IntegrityError(
                "this is not the digest that was asked for",
                where=self.flows[name],
                expected=digest,
                actual=found.digest,
            )
        return found

    def _verified(self, name: str, reference: Reference) -> Reference:
        """Return a reference, if this machine's policy lets the name of a flow mean it."""
        settings = config.load()
        if settings.require:
            texts = partial(self.find_signatures, name, reference)
            remedy = "register it again with --sign"
            signing.Verifier(self.cache, settings).check(name, reference, texts, remedy)
        return reference

    def verify_signatures(self, name: str) -> Reference:
        """Return what would be loaded of a flow, if this machine's policy lets it be.

        Raises:
            SignatureError: It does not.
            CasflowError: The backend, asked what it holds, gives no answer.
        """
        return self._find_reference(name)

    def registered(self, name: str) -> Reference:
        """Return what a flow was registered as, whatever the backend holds now."""
        return self.references[name]

    def _fetch_all(self, name: str, reference: Reference) -> list[Fetched]:
        """Return the flow's blob and its attachments, downloaded side by side where that helps."""
        blobs = reference.blobs()
        if not self.concurrent_downloads:
            return [self._fetch(name, each) for each in blobs]
        first = self.cache.find(reference.blob.digest)
        if first is not None:
            return [Fetched(first, hit=True), *(self._fetch(name, each) for each in blobs[1:])]
        from casflow.blobs.concurrent import run_concurrently

        return run_concurrently(*(partial(self._fetch, name, each) for each in blobs))

    def _fetch(self, name: str, blob: BlobName) -> Fetched:
        return self.cache.fetch(
            blob.digest, blob.size, lambda target: self.download(name, blob, target)
        )


def _attach(flow: Flow, storage: Storage) -> None:
    """Tell a flow that was read where it came from; objects of others are left as they are."""
    from casflow.flow import Flow

    if isinstance(flow, Flow):
        flow._storage = storage  # noqa: SLF001 - it is one, and need not be looked at again
