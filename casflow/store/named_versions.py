"""What names mean in a store: versions, tags, signatures and pins.

Owns the connection to a store. Invariant: a name becomes a digest in one place
(`casflow.trees.versions.Versions.select`), held to this machine's policy.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from casflow import cache as caches
from casflow import config, signing
from casflow.blobs.concurrent import run_concurrently
from casflow.blobs.content import ContentStore
from casflow.gc import pin as pin_reference
from casflow.gc import unpin as unpin_reference
from casflow.gc.scan import key_of
from casflow.reference import check_name
from casflow.storage.urls import open_url
from casflow.store.leases import Leases
from casflow.store.records import version_of
from casflow.store.resolver import Resolver, digest_in, parsed, tags_on
from casflow.trees.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from casflow.cache import Cache
    from casflow.signing import Signer, SigningKey, Verifier
    from casflow.store.records import Version
    from casflow.store.resolver import AnyRef
    from casflow.trees.tags import TagMove


class NamedVersions:
    """Versions by name in a store; `casflow.Store` says what it takes."""

    def __init__(
        self,
        url: str | os.PathLike[str] | None = None,
        *,
        cache: Cache | None = None,
        **options: Any,
    ) -> None:
        settings = config.load()
        self._given = str(settings.store or settings.flows_dir) if url is None else os.fspath(url)
        self._options = options
        self._cache = cache
        self._content = ContentStore(open_url(self._given, **options))
        self._versions = Versions(self._content, self._verifier)

    @property
    def url(self) -> str:
        """Where the store is, for messages; holds no credential."""
        return self._content.store.url

    @property
    def cache(self) -> Cache:
        """This machine's cache."""
        return self._cache or caches.default()

    def _verifier(self) -> Verifier:
        return signing.Verifier(self.cache)

    @property
    def _resolver(self) -> Resolver:
        return Resolver(self._versions, self._verifier)

    @property
    def _leases(self) -> Leases:
        return Leases(self._content, self.cache)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def digest(self, ref: AnyRef) -> str:
        """Return the digest that a ref means now; one that has the whole digest asks nobody.

        Raises:
            NotFoundError: There is none.
            ConfigError: The ref is none, or several versions have the digits that were given.
        """
        return digest_in(ref) or self._resolver.select(ref).reference.digest

    def resolve(self, ref: AnyRef) -> Version:
        """Return the version that a ref means now, with its tags.

        Raises:
            NotFoundError: There is none.
            ConfigError: The ref is none, or several versions have the digits that were given.
        """
        selected = self._resolver.select(ref)
        return version_of(selected, self._resolver.tags_of(selected))

    def versions(self, name: str) -> list[Version]:
        """Return the versions of a name with their tags, newest first."""
        found, tags = run_concurrently(
            partial(self._versions.all, check_name(name)),
            partial(self._resolver.passing_tags, name),
        )
        return [version_of(each, tags_on(each, tags)) for each in found]

    def names(self) -> list[str]:
        """Return the names that have a version in this store, sorted."""
        return self._versions.names()

    def tag(
        self, ref: AnyRef, tag: str, *, sign: bool | str = False, dry_run: bool = False
    ) -> TagMove:
        """Let a tag of the ref's name mean its version from now on.

        Args:
            ref: The version.
            tag: The tag.
            sign: Sign the move, also one that was there already: with the user's key, or the key
                that is named.
            dry_run: Write nothing; the move that is returned is what would be written.

        Returns:
            The move; the last one, if the tag was there already.

        Raises:
            NotFoundError: There is no such version.
            ConfigError: The tag would read as a version or a digest.
        """
        selected = self._resolver.select(ref)
        return self._versions.tags.move(selected, tag, key=signing_key(sign), dry_run=dry_run)

    def tags(self, name: str) -> dict[str, Version]:
        """Return the versions that the tags of a name mean now.

        Raises:
            SignatureError: One of them is not signed as this machine's policy asks.
        """
        found = self._versions.tags.all(name)
        for tag, each in found.items():
            self._versions.signatures.verify(name, each, tag)
        return {tag: version_of(each) for tag, each in found.items()}

    def sign(self, ref: AnyRef, key: str | None = None) -> Version:
        """Sign a version, unless the key has done so before; return it.

        Args:
            ref: The version.
            key: The key; that of the settings or of the user when left out.

        Raises:
            NotFoundError: There is no such version, or no key.
            AccessError: The key refuses.
        """
        selected = self._versions.find(parsed(ref))
        self._versions.signatures.sign(selected, signing.SigningKey.find(key or ""))
        return version_of(selected)

    def signers(self, what: AnyRef | TagMove) -> list[Signer]:
        """Return who signed a version, or a move of a tag, trusted or not, oldest first.

        Raises:
            NotFoundError: There is no such version or move.
        """
        return self.all_signers([what])[0]

    def all_signers(self, what: Iterable[AnyRef | TagMove]) -> list[list[Signer]]:
        """Return the same of many, asked side by side."""
        items = list(what)
        if not self._versions.signatures.has_any():
            return [[] for _ in items]
        found = run_concurrently(*(partial(self._resolver.signatures, each) for each in items))
        return [signing.signers_of(each) for each in found]

    def history(self, name: str, tag: str) -> list[TagMove]:
        """Return the moves of a tag, newest first.

        Raises:
            NotFoundError: There is no such tag.
        """
        return self._versions.tags.history(name, tag)

    def pin(self, ref: AnyRef, as_name: str | None = None) -> str:
        """Keep a version whatever retention says; return the name of the pin.

        Raises:
            NotFoundError: There is no such version.
            ConflictError: A pin of that name holds something else.
        """
        selected = self._resolver.select(ref)
        name = as_name or key_of(selected.reference)
        pin_reference(self._content, selected.key, name)
        return name

    def unpin(self, name: str) -> None:
        """Remove a pin.

        Raises:
            NotFoundError: There is no pin of that name.
        """
        unpin_reference(self._content, name)

    def lease(self, ref: AnyRef) -> bool:
        """Keep a version for as long as gc keeps what was in use, 30 days unless it is told.

        It is one write a day, version and machine; `checkout` does it by itself.

        Returns:
            Whether a lease was written; False when this machine has one of today.

        Raises:
            NotFoundError: There is no such version.
        """
        return self._leases.hold(self._resolver.select(ref).reference)


def signing_key(sign: bool | str) -> SigningKey | None:  # noqa: FBT001 - what `sign=` was given
    """Return the key that a parameter `sign` asks for."""
    return None if sign is False else signing.SigningKey.asked(sign)
