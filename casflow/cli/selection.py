"""Which reference in a store a command means, whether a tree's, a flow's, or one in the trash.

Owns the way from a text on the command line to a reference. Invariant: it is the grammar of
`casflow.refs` and, before it, the key of a reference; numbers of flows are those of the registry,
since a store does not count them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from casflow import config, signing
from casflow.blobs import layout
from casflow.blobs.content import ContentStore
from casflow.cli.versions import get_version
from casflow.digests import hex_of
from casflow.errors import NotFoundError
from casflow.gc import trashed
from casflow.gc.scan import key_of
from casflow.reference import Reference
from casflow.refs import parse_ref
from casflow.storage import load
from casflow.storage.urls import open_url
from casflow.trees.selected import VERSION, Selected, number_of
from casflow.trees.versions import Versions

if TYPE_CHECKING:
    from casflow.cli.stores import KnownStores
    from casflow.refs import Ref


def contents_of(known: KnownStores, url: str | None) -> list[ContentStore]:
    """Return the store at a URL, or all that the registry and the setting `store` name."""
    stores = known.choose([] if url is None else [url])
    settings = config.load()
    if url is None and settings.store:
        store = open_url(str(settings.store))
        if store.url not in {each.url for each in stores}:
            stores.append(store)
    return [ContentStore(each) for each in stores]


def find_live(content: ContentStore, text: str, project: str | None = None) -> Selected | None:
    """Return what a key or a ref means in a store, or None."""
    if layout.is_reference(text):
        with suppress(NotFoundError):
            return Selected(text, content.get_reference(text))
        return None
    latest = content.find_latest(text)
    if latest is not None:
        return Selected(latest.key, latest.reference)
    ref = parse_ref(text)
    return None if ref.is_newest else _find_version(content, ref, project)


def _find_version(content: ContentStore, ref: Ref, project: str | None) -> Selected | None:
    with suppress(NotFoundError):
        return Versions(content).select(ref)
    with suppress(NotFoundError):
        found = select_flow(project, ref.text)[1]
        if content.store.find(found.key) is not None:
            return found
    return None


def find_trashed(content: ContentStore, text: str, project: str | None = None) -> str | None:
    """Return where the newest reference in the trash stood that a key or a ref means, or None."""
    if layout.is_reference(text):
        return text if content.store.find(layout.trash(text)) is not None else None
    ref = parse_ref(text)
    digest = None
    if ref.tag is not None or ref.version is not None:
        with suppress(NotFoundError):  # a tag stays, and a number of the registry
            digest = Versions(content).select(ref).reference.digest
        with suppress(NotFoundError):
            digest = digest or get_version(project, text).digest
    found = (
        each.key
        for each in trashed(content)
        if each.reference.flow == text or _is_meant(each.reference, ref, digest)
    )
    return max(found, default=None)


def _is_meant(reference: Reference, ref: Ref, digest: str | None) -> bool:
    if ref.name is not None and ref.name not in (reference.flow, ref.text):
        return False
    if digest is not None:
        return reference.digest == digest
    if ref.version is not None:
        return number_of(reference) == ref.version
    return ref.digest is not None and hex_of(reference.digest).startswith(ref.digest)


def select_flow(project: str | None, text: str) -> tuple[Versions, Selected]:
    """Return what a ref of a registered flow means, and what moves tags in the store that it is in.

    Raises:
        NotFoundError: There is no such version, or it has no reference.
        ConfigError: Its storage is no store.
    """
    version = get_version(project, text)
    storage = load(version.storage)
    content = storage.tree_source()
    if version.reference is None:
        raise NotFoundError("a version without a reference", where=text, hint="register it again")
    reference = Reference.from_dict(version.reference, where=version.location)
    number = number_of(reference) or version.number
    numbered = replace(reference, extra={**reference.extra, VERSION: number})
    versions = Versions(content, lambda: signing.Verifier(storage.cache))
    return versions, Selected(key_of(reference), numbered)
