"""The family of storages that point at a script in a repository.

Owns the way from a ref to a commit and from a commit to digests. Invariant: what runs is the
content of exactly one commit, which is logged and stands in the reference; a commit's content is
downloaded once and known by digest from then on; what was registered as pinned needs no request,
a moving ref exactly one, and older content is never run without saying so.
"""

from __future__ import annotations

import json
import logging
import time
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

from casflow.cache.locks import lock
from casflow.digests import digest_of, hex_of, verify
from casflow.errors import ConfigError, IntegrityError, UnavailableError
from casflow.reference import SCRIPT, BlobName, Reference
from casflow.secrets import Secret, find
from casflow.storage.base import Storage
from casflow.storage.validation import check_script, is_commit

if TYPE_CHECKING:
    from pathlib import Path

    from casflow.cache import Fetched
    from casflow.flow import Flow
    from casflow.trees.listing import Listing
    from casflow.trees.memory import MemoryTree

logger = logging.getLogger(__name__)

OnUnreachable = Literal["fail", "cached"]


@dataclass(frozen=True, slots=True)
class Head:
    """What a ref named when the host was asked.

    Attributes:
        commit: The commit's full id.
        etag: What lets the host answer "unchanged" the next time.
        seen: Seconds since the epoch when the host said so.
    """

    commit: str
    etag: str | None = None
    seen: float = field(default_factory=time.time)

    def to_text(self) -> str:
        """Return the form that the cache's index keeps."""
        return json.dumps([self.commit, self.etag, self.seen])

    @classmethod
    def from_text(cls, text: str) -> Head:
        """Read the form that the cache's index keeps."""
        return cls(*json.loads(text))


class Content(NamedTuple):
    """What a commit holds for a flow: a script, or the root document of a tree, and the tree."""

    data: bytes
    media_type: str = SCRIPT
    tree: MemoryTree | None = None


class KnownContent(NamedTuple):
    """What a commit was found to hold: the name of its bytes and their media type."""

    digest: str
    size: int
    media_type: str


class SourceStorage(Storage):
    """A storage whose flows are scripts at a commit of a repository; nothing is uploaded.

    Args:
        path: The script in the repository.
        ref: Branch, tag or commit id; the default branch when left out.
        pin: Whether runs use what was registered, even when the ref has moved on; by default
            only a full commit id is pinned.
        on_unreachable: What a run of a moving ref does when the host cannot be asked: `fail`, or
            run the last known commit if it is `cached`, and log how old that knowledge is.
        options: What every storage takes.

    Attributes:
        resolved: The commit of each flow that was read, by name.
    """

    default_secret: str | None = None

    def __init__(
        self,
        *,
        path: str | None,
        ref: str | None = None,
        pin: bool | None = None,
        on_unreachable: OnUnreachable = "fail",
        **options: Any,
    ) -> None:
        if on_unreachable not in ("fail", "cached"):
            hint = 'write "fail" or "cached"'
            raise ConfigError("unknown on_unreachable", where=repr(on_unreachable), hint=hint)
        options.setdefault("stored_as_script", True)
        super().__init__(**options)
        self.path = path
        self.ref = ref
        self.pin = is_commit(ref) if pin is None else pin
        self.on_unreachable = on_unreachable
        self.resolved: dict[str, str] = {}
        self._fetched: dict[str, Fetched] = {}
        self._made_folders: dict[str, tuple[Path, int]] = {}
        self._stored: dict[str, Reference] = {}

    # ---- what a subclass says --------------------------------------------------------------

    @property
    @abstractmethod
    def address(self) -> str:
        """The host and repository, for messages and aliases; holds no credential."""

    @abstractmethod
    def look_up(self, etag: str | None) -> Head | None:
        """Ask the host which commit the ref names; None says that it is the one of `etag`."""

    @abstractmethod
    def read(self, commit: str) -> Content:
        """Download what a commit holds for the flow."""

    def content_options(self) -> tuple[str, ...]:
        """Return what else, besides path and commit, says what is read."""
        return ()

    def script_name(self) -> str:
        """Return the script's path in what is read of a commit."""
        return PurePosixPath(str(self.path)).name

    # ---- from a name to a reference --------------------------------------------------------

    def locate(self, flow: Flow) -> str:  # noqa: ARG002
        """Return the script's path."""
        if self.path is None:
            raise ConfigError("A `path` must be provided to show where the flow's script is")
        return self.path

    def reference(self, name: str) -> Reference:
        """Return what was registered if that is pinned, else what the ref names now."""
        stored = self._stored.pop(name, None)  # a registration asks for what it has just made
        if stored is not None:
            return stored
        if not (self.pin and name in self.references):
            return self.resolve(name)
        return self.registered(name)

    def registered(self, name: str) -> Reference:
        """Return what a flow was registered as; what is read then is that commit."""
        reference = self.references[name]
        self._record(name, str(reference.environment.get("commit")))
        return reference

    def resolve(self, name: str) -> Reference:
        """Return what the ref names, from the cache's knowledge of its commit if there is some."""
        head = self._head()
        try:
            known = self._known_content(head.commit)
        except UnavailableError as error:
            head = self._older_head(error, than=head)
            known = self._known_content(head.commit)
        self._remember_head(head)
        self._record(name, head.commit)
        return self._made(name, head.commit, known)

    def _made(self, name: str, commit: str, known: KnownContent) -> Reference:
        return Reference(
            flow=name,
            blob=BlobName(known.digest, 0, known.size),
            media_type=known.media_type,
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
            labels=tuple(self.labels),
            environment={
                "script": self.script_name(),
                "commit": commit,
                "source": self.address,
            },
        )

    def _record(self, name: str, commit: str) -> None:
        self.resolved[name] = commit
        logger.info("flow %s is read from %s at commit %s", name, self.address, commit)

    # ---- from a ref to a commit ------------------------------------------------------------

    def _alias(self, *parts: str | None) -> str:
        return json.dumps([type(self).__name__, self.address, *parts])

    def _head(self) -> Head:
        if is_commit(self.ref):
            return Head(str(self.ref))
        known = self._known_head()
        try:
            found = self.look_up(None if known is None else known.etag)
        except UnavailableError as error:
            return self._older_head(error, than=None)
        if found is not None:
            return found
        if known is None:
            raise IntegrityError("the host says unchanged, but of nothing", where=self.address)
        return replace(known, seen=time.time())

    def _known_head(self) -> Head | None:
        text = self.cache.find_alias(self._alias("head", self.ref))
        return None if text is None else Head.from_text(text)

    def _remember_head(self, head: Head) -> None:
        if not is_commit(self.ref):
            self.cache.set_alias(self._alias("head", self.ref), head.to_text())

    def _older_head(self, error: UnavailableError, than: Head | None) -> Head:
        """Return the last known commit for want of a newer one, if the policy allows that."""
        known = None if is_commit(self.ref) else self._known_head()
        if self.on_unreachable == "fail" or known is None or known == than:
            raise error
        logger.warning(
            "%s (%s); commit %s is run, which %s named %s ago",
            *(error.what, self.address, known.commit, self.ref or "the default branch"),
            _age(time.time() - known.seen),
        )
        return known

    # ---- from a commit to a digest ---------------------------------------------------------

    def _known_content(self, commit: str) -> KnownContent:
        """Return what a commit holds; one of many processes reads it, the others wait."""
        alias = self._alias("content", self.path, *self.content_options(), commit)
        known = self._find_content(alias)
        if known is not None:
            return known
        with lock(self.cache.root / "locks", hex_of(digest_of(alias.encode()))):
            return self._find_content(alias) or self._read_content(alias, commit)

    def _find_content(self, alias: str) -> KnownContent | None:
        text = self.cache.find_alias(alias)
        return None if text is None else KnownContent(*json.loads(text))

    def _read_content(self, alias: str, commit: str) -> KnownContent:
        content = self._checked(commit)
        known = KnownContent(digest_of(content.data), len(content.data), content.media_type)
        fetched = self.cache.fetch(
            known.digest, known.size, lambda target: target.write(content.data)
        )
        self._fetched[known.digest] = replace(fetched, hit=False, downloaded=known.size)
        if content.tree is not None:
            self._made_folders[known.digest] = self._make_folder(known.digest, content.tree)
        self.cache.set_alias(alias, json.dumps(known))
        return known

    def _checked(self, commit: str) -> Content:
        content = self.read(commit)
        if content.media_type == SCRIPT:
            check_script(content.data, where=f"{self.address}:{self.path}")
        return content

    def _fetch(self, name: str, blob: BlobName) -> Fetched:
        # What this process has just downloaded to learn its digest is not a hit.
        return self._fetched.pop(blob.digest, None) or super()._fetch(name, blob)

    def _make_folder(self, digest: str, tree: MemoryTree) -> tuple[Path, int]:
        from casflow.trees.checkout import folder_for_process

        folder = folder_for_process(self.cache, digest, tree.index, tree)
        return folder, tree.index.listing.size

    def _checkout(self, name: str, reference: Reference) -> tuple[Path, int]:
        made = self._made_folders.pop(reference.digest, None)
        return made or super()._checkout(name, reference)

    def check_out(self, name: str, reference: Reference) -> tuple[Path, int]:
        """Read the commit again, when the cache no longer has its files."""
        return self._make_folder(reference.digest, self._read_tree(name, reference))

    def read_listing(self, name: str, reference: Reference) -> Listing:
        """Read the commit again, when the cache no longer has its files."""
        return self._read_tree(name, reference).index.listing

    def _read_tree(self, name: str, reference: Reference) -> MemoryTree:
        commit = self.resolved[name]
        content = self._checked(commit)
        where = f"{self.address}:{self.path} at commit {commit}"
        verify(content.data, reference.digest, where=where)
        if content.tree is None:
            raise IntegrityError("not a tree", where=where)
        return content.tree

    def download(self, name: str, blob: BlobName, target: BinaryIO) -> str:  # noqa: ARG002
        """Read the commit again, when the cache no longer has it."""
        commit = self.resolved[name]
        target.write(self._checked(commit).data)
        return f"{self.address}:{self.path} at commit {commit}"

    # ---- registration ----------------------------------------------------------------------

    def store(self, flow: Flow, labels: tuple[str, ...], known: Reference | None) -> None:  # noqa: ARG002
        """Record the commit and the digest of now; nothing is uploaded."""
        made = replace(self.resolve(flow.name), labels=labels)
        self.references[flow.name] = self._stored[flow.name] = made
        self.uploaded[flow.name] = 0

    # ---- credentials -----------------------------------------------------------------------

    def token(self, named: str | None, default: str) -> str | None:
        """Return a credential: of the secret that was named, else of the default one if it is set.

        Raises:
            MissingSecretError: The secret was named, or is one of `secrets`, and is missing.
        """
        wanted = named or default
        value = find(wanted)
        if value is None and (named or default in self.secrets):
            value = Secret(wanted).get()
        return None if value is None else str(value).strip()


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
