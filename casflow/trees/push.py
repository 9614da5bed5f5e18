"""Pushing: a folder becomes a version of a name in a store.

Owns the road down. Invariant: it is the writer's protocol of docs/gc.md and nothing beside it: the
root document is the reference's blob, and index and packs are attachments, whether this push wrote
them or an earlier one; what an earlier one wrote and the store has lost is written anew.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from casflow import signing
from casflow.blobs.draft import Draft, Source
from casflow.errors import AccessError, CasflowError, IntegrityError
from casflow.reference import TREE, BlobName, Reference, check_name
from casflow.trees.fetch import INDEX, TreeReader, pack_role
from casflow.trees.index import Index, Place
from casflow.trees.packs import Pack, PackPlan, plan_packs, write_pack
from casflow.trees.scan import scan, silent
from casflow.trees.selected import BYTES, FILES, VERSION, Selected, number_of
from casflow.trees.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from casflow.blobs.base import ObjectInfo
    from casflow.blobs.content import ContentStore
    from casflow.cache import Cache
    from casflow.signing import SigningKey
    from casflow.trees.listing import Listing
    from casflow.trees.scan import Progress

logger = logging.getLogger(__name__)

_THREADS = 2  # packs that are made at once


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did, or would do.

    Attributes:
        selected: The version, or None in a dry run that would make one.
        listing: What was pushed.
        number: Number of the version.
        is_new: Whether this is a new version.
        uploaded: Bytes that had to be written.
    """

    selected: Selected | None
    listing: Listing
    number: int
    is_new: bool
    uploaded: int


class Pusher:
    """Pushes folders to one store.

    Args:
        content: The store.
        cache: This machine's cache.
    """

    def __init__(self, content: ContentStore, cache: Cache) -> None:
        self._content = content
        self._cache = cache
        self._versions = Versions(content)

    def push(
        self,
        folder: Path,
        name: str,
        labels: Iterable[str] = (),
        *,
        environment: Mapping[str, object] | None = None,
        progress: Progress = silent,
        dry_run: bool = False,
        force: bool = False,
        key: SigningKey | None = None,
    ) -> Pushed:
        """Store a folder as the next version of a name, unless the newest one is the same.

        Args:
            folder: The folder.
            name: The name.
            labels: Labels of the version.
            environment: Facts that belong to the version, such as a flow's entry point.
            progress: Is told the stage, how much is done, and how much there is.
            dry_run: Write nothing.
            force: Make a new version even of an unchanged folder.
            key: Signs the version, also one that was there already.

        Raises:
            CasflowError: The folder cannot be read or stored.
        """
        check_name(name)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(copy_context().run, self._look, name)
            listing = scan(folder, progress)
            newest, objects = asked.result()
        draft = Draft(
            name,
            listing.root,
            TREE,
            tuple(sorted(set(labels))),
            environment=dict(environment or {}),
        )
        if newest is not None and not force and self._is_same(newest, draft, objects):
            if key is not None and not dry_run:
                self._versions.signatures.sign(newest, key)
            return Pushed(newest, listing, newest.number, is_new=False, uploaded=0)
        before = None if force else self._index_of(newest)
        if dry_run:
            number = 1 if newest is None else newest.number + 1
            size = plan_packs(listing, before).size
            return Pushed(None, listing, number, is_new=True, uploaded=size)
        sign = None if key is None else self._versions.signatures.prepare(draft.preview(), key)
        try:
            return self._store(folder, listing, draft, newest, before, progress, sign)
        except IntegrityError:  # a pack of an earlier version is lost
            if before is None:
                raise
            logger.warning("a pack of the version before is lost; all contents are written anew")
            return self._store(folder, listing, draft, newest, None, progress, sign)

    def _look(self, name: str) -> tuple[Selected | None, dict[str, ObjectInfo] | None]:
        """Return the newest version of a name, and all objects of the store where they are few.

        One listing of a small store says all that would be asked for one by one.
        """
        objects, alias = None, f"large {self._content.store.url}"
        if self._content.store.parallel > 1 and self._cache.find_alias(alias) is None:
            with suppress(AccessError):  # some may list no more than a folder
                objects = self._content.list_small()
            if objects is None:
                self._cache.set_alias(alias, "")
        return self._versions.newest(name, objects), objects

    def _is_same(
        self, newest: Selected, draft: Draft, objects: Mapping[str, ObjectInfo] | None
    ) -> bool:
        """Tell whether the newest version says what a draft does, and can be read back."""
        there, drafted = newest.reference, draft.preview()
        same = signing.same_statement(there, drafted) and there.labels == drafted.labels
        return same and self._content.is_whole(there, objects)

    def _index_of(self, newest: Selected | None) -> Index | None:
        if newest is None or newest.reference.media_type != TREE:
            return None
        try:
            return TreeReader(self._content, self._cache, newest.reference).index
        except CasflowError as error:
            logger.warning("the version before cannot be read: %s", error)
            return None

    def _store(
        self,
        folder: Path,
        listing: Listing,
        draft: Draft,
        newest: Selected | None,
        before: Index | None,
        progress: Progress,
        sign: Callable[[Reference], None] | None,
    ) -> Pushed:
        plan = plan_packs(listing, before)
        with self._cache.temporary_folder() as temporary:
            made, places = _make_packs(plan, Path(folder), temporary, progress)
            sizes = plan.packs | {pack.digest: pack.size for pack in made}
            index = Index(listing, sizes, plan.kept | places).to_bytes()
            sources = self._sources(sizes, made, newest)
            after = 0 if newest is None else newest.number
            number = self._versions.claim_number(draft.flow, after)
            draft = Draft(
                draft.flow,
                draft.data,
                draft.media_type,
                draft.labels,
                {INDEX: index, **sources},
                draft.environment,
                extra={VERSION: number, FILES: len(listing), BYTES: listing.size},
            )
            progress("upload", 0, plan.size)
            done = self._content.commit(draft, prepare=sign)
            progress("upload", plan.size, plan.size)
        selected = Selected(done.key, done.reference)
        self._remember(selected, listing, index)
        number = number_of(done.reference)
        return Pushed(selected, listing, number, is_new=True, uploaded=done.uploaded)

    def _sources(
        self, sizes: Mapping[str, int], made: Iterable[Pack], newest: Selected | None
    ) -> dict[str, Source | BlobName]:
        """Return where each pack comes from: a file, or the version before."""
        files = {pack.digest: pack.path for pack in made}
        earlier = {} if newest is None else _blobs_by_digest(newest.reference)
        sources: dict[str, Source | BlobName] = {}
        for position, digest in enumerate(sizes):
            path = files.get(digest)
            sources[pack_role(position)] = earlier[digest] if path is None else path
        return sources

    def _remember(self, selected: Selected, listing: Listing, index: bytes) -> None:
        """Keep what the next push and checkout on this machine would have to ask for."""
        reference = selected.reference
        try:
            self._cache.put(reference.digest, listing.root)
            self._cache.put(reference.attachments[INDEX].digest, index)
        except CasflowError as error:
            logger.debug("the cache does not keep what was pushed: %s", error)


def _blobs_by_digest(reference: Reference) -> dict[str, BlobName]:
    return {blob.digest: blob for blob in reference.blobs()}


def _make_packs(
    plan: PackPlan, folder: Path, temporary: Path, progress: Progress
) -> tuple[list[Pack], dict[str, Place]]:
    done, total = 0, plan.size

    def written(size: int) -> None:
        nonlocal done
        done += size
        progress("pack", done, total)

    def make(numbered: tuple[int, list]) -> tuple[Pack, dict[str, Place]]:  # type: ignore[type-arg]
        number, group = numbered
        return write_pack(group, folder, temporary / str(number), written)

    with ThreadPoolExecutor(_THREADS) as pool:
        results = list(pool.map(make, enumerate(plan.groups)))
    places: dict[str, Place] = {}
    for _, some in results:
        places |= some
    return list({pack.digest: pack for pack, _ in results}.values()), places
