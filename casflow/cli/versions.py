"""Which version of a flow a command means.

Owns the way from a ref on the command line to a version in the registry. Invariant: refs are read
by `casflow.refs`, as those of trees are; a flow whose own name holds an @ is found by that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from casflow import config, signing
from casflow.digests import PREFIX
from casflow.errors import ConfigError, NotFoundError
from casflow.refs import SHORTEST, parse_ref
from casflow.registry.lookup import find_version

if TYPE_CHECKING:
    from casflow.refs import Ref
    from casflow.registry import Registry, Version

_DIGITS = 64


def get_version(
    project: str | None, text: str, number: int | None = None, digest: str | None = None
) -> Version:
    """Return the version that a ref means, such as `etl`, `etl@3`, `etl@prod` or `4f0c12ab`.

    Args:
        project: Project of the flow.
        text: The ref, or a name.
        number: Number of the version, if an option gives it.
        digest: Its digest, or the first digits of it, if an option gives it.

    Raises:
        ConfigError: The ref is none, or an option says something else than it does.
        NotFoundError: There is no such version.
    """
    url = config.load().registry
    start = None if digest is None else _first_digits(digest)
    if start is None:
        found = find_version(url, project, text, number, digest)
        if found is not None:
            return found
    from casflow.registry import Registry

    with Registry(url) as registry:
        if start is not None:
            digest = registry.get_by_digest(start).digest
        try:
            return registry.get_version(project, text, number, digest)
        except NotFoundError:
            ref = parse_ref(text)
            if ref.is_newest:
                raise
            if number is not None or digest is not None:
                raise ConfigError("a version is named twice", where=text) from None
            return _of_ref(registry, project, ref)


def names_digest(text: str, version: Version) -> bool:
    """Tell whether a ref says which content a version has, so that no other may run for it."""
    ref = parse_ref(text)
    return ref.digest is not None and version.digest.startswith(PREFIX + ref.digest)


def _first_digits(digest: str) -> str | None:
    """Return the start of a digest, or None for what is a whole one, or none at all."""
    ref = parse_ref(digest) if "@" not in digest else None
    if ref is None or ref.digest is None or not SHORTEST <= len(ref.digest) < _DIGITS:
        return None
    return PREFIX + ref.digest


def _of_ref(registry: Registry, project: str | None, ref: Ref) -> Version:
    if ref.name is None or ref.text == ref.name:
        return registry.get_by_digest(f"{PREFIX}{ref.digest}")
    if ref.version is not None:
        return registry.get_version(project, ref.name, ref.version)
    if ref.tag is not None:
        return registry.get_version(project, ref.name, digest=_tagged(registry, project, ref))
    found = registry.get_by_digest(f"{PREFIX}{ref.digest}")
    return registry.get_version(project, ref.name, digest=found.digest)


def _tagged(registry: Registry, project: str | None, ref: Ref) -> str:
    """Return the digest that a tag names in the store of the flow's latest version."""
    from casflow.storage import load
    from casflow.trees.versions import Versions

    storage = load(registry.get_version(project, str(ref.name)).storage)
    versions = Versions(storage.tree_source(), lambda: signing.Verifier(storage.cache))
    return versions.select(ref).reference.digest
