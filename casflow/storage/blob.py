"""The family of storages that hold bytes: Local, S3, GCS, Azure.

Owns how a flow becomes blobs and a reference in a store, and that equal content is stored once.
Invariant: a location always names a reference whose blobs stand in the store; a concrete storage
says only which store that is.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Self

from casflow import signing
from casflow.blobs import layout
from casflow.blobs.concurrent import run_concurrently
from casflow.blobs.content import Commit, ContentStore, Draft
from casflow.cache import Fetched
from casflow.digests import digest_of
from casflow.errors import (
    CasflowError,
    ConfigError,
    ConflictError,
    FlowNotInStorageError,
    IntegrityError,
    NotFoundError,
)
from casflow.reference import SCRIPT, Reference
from casflow.storage.base import Storage
from casflow.storage.content import BARE, draft_pickle, draft_script, name_of, script_reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from casflow.blobs.base import BlobStore
    from casflow.flow import Flow
    from casflow.reference import BlobName
    from casflow.signing import Signed
    from casflow.storage.base import LoadedFlow


class BlobStorage(Storage):
    """A storage whose flows are blobs and references in a blob store.

    Args:
        key: A fixed, mutable key instead of `<slug>/<timestamp>`.
        local_script_path: The script whose bytes are stored, when `stored_as_script`.
        follow: Whether a run takes the script that lies under the key now, which somebody puts
            there by other means, instead of the one that was registered.
        options: What every storage takes.

    Raises:
        ConfigError: There is no such script to follow.
    """

    optional_fields: ClassVar[tuple[str, ...]] = ("follow",)
    concurrent_downloads = True

    def __init__(
        self,
        *,
        key: str | None = None,
        local_script_path: str | None = None,
        follow: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.key = key
        self.local_script_path = local_script_path
        self.follow = follow
        self._moments: dict[str, datetime] = {}
        self._followed: dict[str, Fetched] = {}
        if follow and (key is None or not self.stored_as_script or local_script_path is not None):
            hint = "name its key, with stored_as_script=True and without local_script_path"
            raise ConfigError("follow=True is for a script under a key of yours", hint=hint)
        self._content: ContentStore | None = None
        self._project: tuple[Path, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_content": None}

    @abstractmethod
    def open_store(self) -> BlobStore:
        """Return the blob store that flows are kept in."""

    @property
    def content(self) -> ContentStore:
        """The content store, opened when it is first needed."""
        if self._content is None:
            self._content = ContentStore(self.open_store())
        return self._content

    # ---- locations and keys ----------------------------------------------------------------

    def location_of(self, key: str) -> str:
        """Return the location that a key of the store is known by."""
        return key

    def key_of(self, location: str) -> str:
        """Return the key in the store of a location."""
        return location

    def locate(self, flow: Flow) -> str:
        """Return the fixed key, or `<slug>/<timestamp>` of now."""
        if self.stored_as_script and not (self.script_path() or self.key):
            raise ConfigError(self.no_script_text())
        name, now = name_of(flow), datetime.now(UTC)
        self._moments[name] = now
        return self.location_of(self.key or layout.reference(name, now))

    def set_moment(self, name: str, moment: datetime) -> None:
        """Let a flow that was added get the key of a moment, unless that was used before."""
        key = layout.reference(name, moment)
        if (
            self.content.store.find(key) is None
            and self.content.store.find(layout.trash(key)) is None
        ):
            self._moments[name] = moment

    def script_path(self) -> Path | None:
        """Return the script whose bytes are stored."""
        return None if self.local_script_path is None else Path(self.local_script_path)

    def store_script(self, path: Path) -> None:
        """Store the bytes of a script from now on; one that was named already stays."""
        if not (self.stored_as_script and self.script_path()):
            self.stored_as_script, self.local_script_path = True, str(path)

    def suggest_script(self, path: Path) -> None:
        """Take the script that makes the flows; one under a key of the user's own stays there."""
        if self.stored_as_script and self.key is None and self.script_path() is None:
            self.local_script_path = str(path)

    def no_script_text(self) -> str:
        """Return what to say when a script shall be stored and none is named."""
        return "A `key` must be provided if stored as script without a `local_script_path`"

    def store_project(self, folder: Path, script: Path) -> None:
        """Store a whole folder with a script in it from now on, instead of a pickle."""
        folder = folder.resolve()
        if self.key is not None:
            raise ConfigError("a project cannot be stored under a fixed key", where=self.key)
        if not script.resolve().is_relative_to(folder):
            raise ConfigError("the script is not in its project", where=f"{script} in {folder}")
        self._project = folder, script.resolve().relative_to(folder).as_posix()

    def tree_source(self) -> ContentStore:
        """Return the content store that projects are checked out of."""
        return self.content

    # ---- a script under the user's own key -------------------------------------------------

    @property
    def _is_users_script(self) -> bool:
        """Whether the key holds a script that the user puts there by other means."""
        return self.stored_as_script and self.key is not None and self.script_path() is None

    def reference(self, name: str) -> Reference:
        """Return what the location of a flow holds; of a script that is followed, what is now."""
        if not (self.follow and name in self._registered_scripts()):
            return super().reference(name)
        data = self.content.store.get(str(self.key))
        found = script_reference(name, data, str(self.key))
        self._followed[found.digest] = Fetched(data, hit=False, downloaded=len(data))
        return found

    def _registered_scripts(self) -> set[str]:
        """Return the flows that were registered from the script under the key."""
        if not self._is_users_script:
            return set()
        return {each for each in self.references if self.key_of(self.flows[each]) != self.key}

    def load_flow(self, name: str, *, digest: str | None = None) -> LoadedFlow:
        """Return a flow with what it took, and say when its script was edited since."""
        if not self.follow and name in self._registered_scripts():
            self._warn_if_edited(self.references[name])
        return super().load_flow(name, digest=digest)

    def _warn_if_edited(self, registered: Reference) -> None:
        try:
            data = self.content.store.get(str(self.key))
        except CasflowError as error:
            self.logger.debug("the script cannot be looked at: %s", error)
            return
        if digest_of(data) != registered.digest:
            self.logger.warning(
                "the script %s was edited since it was registered; what was registered is run: "
                "register it again, or set follow=True",
                self.content.store.location(str(self.key)),
            )

    # ---- signatures ------------------------------------------------------------------------

    def find_signatures(self, name: str, reference: Reference) -> list[bytes]:
        """Return what was signed of a flow's digest; nobody has checked it yet."""
        kept = super().find_signatures(name, reference)
        return [*kept, *signing.read_signatures(self.content.store, reference.digest)]

    def keep_signature(self, name: str, reference: Reference, signed: Signed) -> None:
        """Write a signature beside the blob; a bare script has none, so the registry keeps it."""
        if BARE in reference.extra:
            super().keep_signature(name, reference, signed)
        else:
            signing.write_signature(self.content.store, reference.blob, signed)

    # ---- both roads ------------------------------------------------------------------------

    def build(
        self, labels: Iterable[str] = (), known: Mapping[str, Reference] | None = None
    ) -> Self:
        """Store every flow that was added; what is stored already is not written again.

        Raises:
            ConfigError: A script shall be stored, and none is named.
        """
        if self.stored_as_script and not (self.script_path() or self.key):
            raise ConfigError(self.no_script_text())
        return super().build(labels, known)

    def store(self, flow: Flow, labels: tuple[str, ...], known: Reference | None) -> None:
        """Store one flow, unless its newest reference says the same."""
        if self._project is not None:
            self._store_project(flow, labels, *self._project)
            return
        draft, key = self._draft(flow, labels), self.key
        if draft is None:  # the user puts a script under the key, by other means
            draft, key = self._draft_at_key(flow, labels), None
        if draft is None:
            return
        draft = replace(draft, project=self.flow_project)
        self.check_loads(draft, known)
        done = None if self.rewrite else self._find_same(draft, known, key)
        if done is None:
            if key is not None:
                self.claim_key()
            done = self.content.commit(
                draft, name=key, rewrite=self.rewrite, moment=self._moments.pop(draft.flow, None)
            )
        self.flows[draft.flow] = self.location_of(done.key)
        self.references[draft.flow] = done.reference
        self.uploaded[draft.flow] = done.uploaded

    def _store_project(
        self, flow: Flow, labels: tuple[str, ...], folder: Path, script: str
    ) -> None:
        from casflow.serialize import versions
        from casflow.trees.push import Pusher

        name = name_of(flow)
        pushed = Pusher(self.content, self.cache).push(
            folder, name, labels, environment={**versions(), "script": script}
        )
        if pushed.selected is None or script not in pushed.listing.by_path:
            raise ConfigError("the script is left out of its project", where=script)
        self.flows[name] = self.location_of(pushed.selected.key)
        self.references[name] = pushed.selected.reference
        self.uploaded[name] = pushed.uploaded

    def claim_key(self) -> None:
        """Make sure that the fixed key, if there is one, may be written over."""

    def _draft(self, flow: Flow, labels: tuple[str, ...]) -> Draft | None:
        if not self.stored_as_script:
            return draft_pickle(flow, labels)
        path = self.script_path()
        return None if path is None else draft_script(flow, path, labels)

    def _draft_at_key(self, flow: Flow, labels: tuple[str, ...]) -> Draft | None:
        """Return what is stored of a script under the key: its bytes of now, whatever follows.

        None says that the key holds a reference of an earlier registration instead.
        """
        from casflow.serialize import versions

        key = str(self.key)
        data = self.content.store.get(key)
        try:
            Reference.from_bytes(data, where=key)
        except IntegrityError:
            environment = {**versions(), "script": key.rpartition("/")[2]}
            return Draft(name_of(flow), data, SCRIPT, labels, {}, environment)
        return None

    def _find_same(self, draft: Draft, known: Reference | None, key: str | None) -> Commit | None:
        """Return a flow's newest reference if it says what a draft says and can be read back."""
        preview = draft.preview()
        likely = known if known is not None and known.same_content(preview) else None
        latest, whole = run_concurrently(
            lambda: self._find_latest(draft.flow, known, key),
            lambda: likely is not None and self.content.is_whole(likely),
        )
        if latest is None or not latest.reference.same_content(preview):
            return None
        if likely is None or latest.reference.blobs() != likely.blobs():
            whole = self.content.is_whole(latest.reference)
        return latest if whole else None

    def _find_latest(self, flow: str, known: Reference | None, key: str | None) -> Commit | None:
        known_key = key or (known and layout.reference(flow, datetime.fromisoformat(known.created)))
        if known_key:
            try:
                found = self.content.get_reference(known_key)
            except (NotFoundError, IntegrityError):
                pass  # retention took it, or it is damaged
            else:
                if found.flow != flow:
                    what = f"the key holds the flow {found.flow!r}"
                    hint = "choose another key, or leave it out"
                    where = self.content.store.location(known_key)
                    raise ConflictError(what, where=where, hint=hint)
                return Commit(known_key, found)
        return None if key else self.content.find_latest(flow, self.flow_project)

    def resolve(self, name: str) -> Reference:
        """Read the reference at the location of a flow; a fixed key may hold a bare script."""
        key = self.key_of(self.flows[name])
        data = self.content.store.get(key)
        where = self.content.store.location(key)
        try:
            found = Reference.from_bytes(data, where=where)
        except IntegrityError:
            if not (self.stored_as_script and key == self.key):
                raise
            return script_reference(name, data, key)
        if found.flow != name:
            what = f"the key holds the flow {found.flow!r}, not {name!r}"
            hint = "give each flow a key of its own, or leave the key out"
            raise FlowNotInStorageError(what, where=where, hint=hint)
        return found

    def _fetch(self, name: str, blob: BlobName) -> Fetched:
        """Return a blob's bytes; of other incarnations when those of the named one are damaged."""
        if blob.digest in self._followed:  # it was read to learn its digest
            return self._followed.pop(blob.digest)
        try:
            return super()._fetch(name, blob)
        except IntegrityError as error:
            if BARE in super().reference(name).extra:
                raise
            for key in self.content.other_incarnations(blob):
                download = partial(self.content.store.copy_to, key)
                with suppress(IntegrityError, NotFoundError):
                    return self.cache.fetch(blob.digest, blob.size, download)
            raise error from None

    def download(self, name: str, blob: BlobName, target: BinaryIO) -> str:
        """Write a blob's bytes to a file."""
        key = super().reference(name).extra.get(BARE)
        if key is None:
            return self.content.copy_to(blob, target)
        self.content.store.copy_to(key, target)
        return self.content.store.location(key)
