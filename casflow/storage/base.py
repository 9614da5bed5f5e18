"""What every storage is: a set of named flows, and one way to read them.

Owns the road back: the cache is asked by digest before anything is downloaded, what is downloaded
is verified, and only verified bytes are loaded. Invariant: that happens in `Storage.load_flow` and
nowhere else; a subclass says only where bytes come from and where they go, and cannot forget it.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Self

from casflow import cache, config, signing
from casflow.cache import Fetched
from casflow.errors import ConfigError, DuplicateFlowError, FlowNotInStorageError, IntegrityError
from casflow.reference import PICKLE, TREE, Reference
from casflow.storage.content import flow_from_bytes, name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from casflow.blobs.content import ContentStore, Draft
    from casflow.cache import Cache
    from casflow.flow import Flow
    from casflow.reference import BlobName
    from casflow.results import Result
    from casflow.signing import Signed, SigningKey
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


class Storage(ABC):
    """Where flows are kept.

    Args:
        result: Where the results of its flows' tasks go, when they are asked for.
        secrets: Names of the secrets that are loaded before a flow is read at run time.
        labels: Labels that an agent must carry to run its flows.
        add_default_labels: Whether `default_labels` are added; the setting decides when left out.
        stored_as_script: Whether flows are kept as the script that makes them.

    Attributes:
        flows: Location of each flow, by name.
        references: What each location is known to hold; empty for a flow that only the backend
            knows.
        signatures: What was signed of each flow, where the backend cannot keep it itself.
        uploaded: Bytes that the last `build` had to write for each flow.
        flow_project: Project of the registration under way; references say it.
        rewrite: Whether `build` writes again also what seems to be stored.
        loads_new: Whether `build` loads a pickle that is new before it stores it.
    """

    fields: ClassVar[tuple[str, ...]] = ()
    """Constructor parameters that stand in the JSON form; none may be a secret."""

    concurrent_downloads: ClassVar[bool] = False
    """Whether threads may download several blobs of one flow at a time."""

    def __init__(
        self,
        result: Result | None = None,
        secrets: Iterable[str] | None = None,
        labels: Iterable[str] | None = None,
        add_default_labels: bool | None = None,  # noqa: FBT001 - the original's signature
        stored_as_script: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        self._result = result
        self.secrets = list(secrets or ())
        self._labels = list(labels or ())
        self._add_default_labels = add_default_labels
        self.stored_as_script = stored_as_script
        self.flows: dict[str, str] = {}
        self.references: dict[str, Reference] = {}
        self.uploaded: dict[str, int] = {}
        self.signatures: dict[str, list[str]] = {}
        self.flow_project = ""
        self.rewrite = False
        self.loads_new = False
        self._flows: dict[str, Flow] = {}
        self._cache: Cache | None = None

    # ---- what a subclass says --------------------------------------------------------------

    @abstractmethod
    def locate(self, flow: Flow) -> str:
        """Return the location that a flow gets when it is added."""

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

    @property
    def default_labels(self) -> list[str]:
        """Labels that this kind of storage adds by itself."""
        return []

    @property
    def result(self) -> Result | None:
        """Where the results of its flows' tasks go by default."""
        return self._result

    # ---- the public face -------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the kind of storage."""
        return type(self).__name__

    @property
    def labels(self) -> list[str]:
        """Labels that an agent must carry to run its flows, sorted."""
        own = self.default_labels if self.add_default_labels else ()
        return sorted({*self._labels, *own})

    @property
    def add_default_labels(self) -> bool:
        """Whether `default_labels` are added; the setting decides where nobody said."""
        wanted = self._add_default_labels
        return config.load().default_labels if wanted is None else wanted

    @add_default_labels.setter
    def add_default_labels(self, value: bool | None) -> None:
        self._add_default_labels = value

    @property
    def cache(self) -> Cache:
        """This machine's cache."""
        if self._cache is None:
            self._cache = cache.default()
        return self._cache

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.flows

    def __repr__(self) -> str:
        return f"<Storage: {self.name}>"

    def add_flow(self, flow: Flow) -> str:
        """Take a flow in, to be stored by `build`.

        Returns:
            Its location. Where equal content is stored already, `build` may give another one.

        Raises:
            DuplicateFlowError: A flow of that name is here already.
        """
        return self.flows[self.add(flow)]

    def add(self, flow: Flow) -> str:
        """Take a flow in without storing anything yet; return its name."""
        name = name_of(flow)
        if name in self:
            raise DuplicateFlowError(
                f'Name conflict: Flow with the name "{name}" is already present in this storage.'
            )
        self.flows[name] = self.locate(flow)
        self._flows[name] = flow
        return name

    def add_or_replace(self, name: str, flow: Flow) -> None:
        """Add a flow that is registered; it takes the place of one that was made before it."""
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
            return self._load_project(name, reference, started)
        fetched = self._fetch_all(name, reference)
        parts = zip(reference.attachments, fetched[1:], strict=True)
        attachments = {role: bytes(part.data) for role, part in parts}
        flow = flow_from_bytes(reference, fetched[0].data, attachments, where=self.flows[name])
        _attach(flow, self)
        return LoadedFlow(
            flow,
            reference,
            hit=all(each.hit for each in fetched),
            downloaded=sum(each.downloaded for each in fetched),
            seconds=time.perf_counter() - started,
        )

    def _load_project(self, name: str, reference: Reference, started: float) -> LoadedFlow:
        from casflow.flow.project import flow_from_project
        from casflow.trees.listing import check_path

        folder, downloaded = self._checkout(name, reference)
        script = str(reference.environment.get("script", ""))
        check_path(script)
        flow = flow_from_project(folder, script, reference.flow)
        _attach(flow, self)
        seconds = time.perf_counter() - started
        return LoadedFlow(
            flow, reference, hit=not downloaded, downloaded=downloaded, seconds=seconds
        )

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

    # ---- signatures ------------------------------------------------------------------------

    def find_signatures(self, name: str, reference: Reference) -> list[bytes]:
        """Return what was signed of a flow's digest; nobody has checked it yet."""
        del reference
        return [text.encode() for text in self.signatures.get(name, ())]

    def sign(self, name: str, reference: Reference, key: SigningKey) -> None:
        """Sign what a flow is registered as, unless the key has done so before.

        Raises:
            AccessError: The key refuses.
        """
        found = self.find_signatures(name, reference)
        signed = signing.signed_anew(signing.Statement.of(reference), key, found)
        if signed is not None:
            self.keep_signature(name, reference, signed)

    def keep_signature(self, name: str, reference: Reference, signed: Signed) -> None:
        """Keep a signature of a flow where `find_signatures` finds it."""
        del reference
        self.signatures.setdefault(name, []).append(signed.to_bytes().decode())

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

    # ---- JSON form -------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """Return the JSON form without its flows: what makes two storages the same place."""
        own = {field: _json_value(getattr(self, field)) for field in self.fields}
        return {"type": type(self).__name__, "secrets": list(self.secrets), **own}

    def serialize(self, only: str | None = None) -> dict[str, Any]:
        """Return the JSON form, of all flows or of only one; it holds no secret and no code."""
        names = self.flows if only is None else (only,)
        flows = {name: self.flows[name] for name in names}
        references = {
            name: self.references[name].to_dict() for name in names if name in self.references
        }
        signatures = {name: self.signatures[name] for name in names if self.signatures.get(name)}
        form = {**self.identity(), "flows": flows, "references": references}
        return {**form, "signatures": signatures} if signatures else form

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Self:
        """Return the storage of its JSON form."""
        values = {field: form[field] for field in cls.fields if field in form}
        try:
            storage = cls(**values, secrets=form.get("secrets"), **cls._restore_options())
        except TypeError as error:
            raise ConfigError(f"cannot restore a {cls.__name__} storage ({error})") from error
        storage.flows.update(form.get("flows", {}))
        for name, each in form.get("references", {}).items():
            storage.references[name] = Reference.from_dict(each, where=storage.flows.get(name))
        storage.signatures.update(_texts(form.get("signatures", {})))
        return storage

    @classmethod
    def _restore_options(cls) -> dict[str, Any]:
        """Return constructor arguments that only a storage read from its JSON form gets."""
        return {}


def _texts(form: Any) -> dict[str, list[str]]:
    """Return lists of text by name.

    Raises:
        IntegrityError: It is something else.
    """
    try:
        return {str(name): ["".join(text) for text in texts] for name, texts in form.items()}
    except (AttributeError, TypeError) as error:
        raise IntegrityError("damaged signatures of a flow", where="a storage's form") from error


def _json_value(value: Any) -> Any:
    """Return a field as JSON has it."""
    if isinstance(value, tuple | list):
        return [_json_value(each) for each in value]
    return value if isinstance(value, str | int | float | dict | None) else str(value)


def _attach(flow: Flow, storage: Storage) -> None:
    """Tell a flow that was read where it came from; objects of others are left as they are."""
    from casflow.flow import Flow

    if isinstance(flow, Flow):
        flow.storage = storage
