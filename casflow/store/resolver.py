"""Refs as callers give them: a text, a ref in its parts, or a version that a store answered with.

Owns what each of them means in one store under this machine's policy. Invariant: nothing that the
policy refuses is returned as what a name means; a version stands for the reference that it came
with, and is not looked for again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from casflow import config
from casflow.errors import SignatureError
from casflow.refs import Ref, parse_ref
from casflow.store.records import Version
from casflow.trees.selected import Selected
from casflow.trees.tags import TagMove

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from casflow.signing import Signed, Verifier
    from casflow.trees.versions import Versions

    AnyRef = str | Ref | Version

logger = logging.getLogger(__name__)


class Resolver:
    """What refs mean in one store.

    Args:
        versions: The versions of names in the store.
        verifier: Gives what holds names to this machine's policy.
    """

    def __init__(self, versions: Versions, verifier: Callable[[], Verifier]) -> None:
        self._versions = versions
        self._verifier = verifier

    def select(self, ref: AnyRef) -> Selected:
        """Return the reference that a ref means now.

        Raises:
            NotFoundError: There is none.
            ConfigError: The ref is none, or several versions have the digits that were given.
            SignatureError: It is not signed as this machine's policy asks.
        """
        if isinstance(ref, Version) and ref.reference is not None:
            selected = Selected(ref.key, ref.reference)
            self._versions.signatures.verify(ref.name, selected)
            return selected
        return self._versions.select(parsed(ref))

    def has_passed(self, ref: AnyRef, digest: str) -> bool:
        """Tell whether the policy lets a digest be used without a look at the store."""
        if not config.load().require:
            return True
        return self._verifier().has_passed(name_in(ref), digest)

    def passing_tags(self, name: str) -> dict[str, Selected]:
        """Return what the tags of a name name now, without those that the policy lets not be."""
        found = self._versions.tags.all(name)
        passing = {}
        for tag, each in found.items():
            try:
                self._versions.signatures.verify(name, each, tag)
            except SignatureError as error:
                logger.info("the tag %s is left out: %s", tag, error)
            else:
                passing[tag] = each
        return passing

    def tags_of(self, selected: Selected) -> tuple[str, ...]:
        """Return the passing tags that name a version now, sorted."""
        return tags_on(selected, self.passing_tags(selected.reference.flow))

    def signatures(self, what: AnyRef | TagMove) -> list[Signed]:
        """Return the signatures of a version, or of a move of a tag; nobody checked them yet.

        Raises:
            NotFoundError: There is no such version or move.
        """
        if isinstance(what, TagMove):
            return self._versions.signatures.find(self._versions.tags.find_move(what), what.tag)
        if isinstance(what, Version) and what.reference is not None:
            return self._versions.signatures.find(Selected(what.key, what.reference))
        asked = parsed(what)
        return self._versions.signatures.find(self._versions.find(asked), asked.tag)


def parsed(ref: AnyRef) -> Ref:
    """Return a ref in its parts.

    Raises:
        ConfigError: It is none.
    """
    if isinstance(ref, Version):
        return parse_ref(f"{ref.name}@{ref.digest}")
    return ref if isinstance(ref, Ref) else parse_ref(ref)


def name_in(ref: AnyRef) -> str | None:
    """Return the name that a ref gives, or None for a bare digest."""
    return ref.name if isinstance(ref, Version) else parsed(ref).name


def digest_in(ref: AnyRef) -> str | None:
    """Return the digest that a ref has whole, so that nothing need be asked for it."""
    return ref.digest if isinstance(ref, Version) else parsed(ref).full_digest


def tags_on(selected: Selected, tags: Mapping[str, Selected]) -> tuple[str, ...]:
    """Return which of some tags name a version, sorted."""
    wanted = (selected.reference.digest, selected.number)
    return tuple(
        sorted(tag for tag, each in tags.items() if (each.reference.digest, each.number) == wanted)
    )
