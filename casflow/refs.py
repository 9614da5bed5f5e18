"""Refs: how a person names one version of something, such as `etl@3`, `etl@prod` or a digest.

Owns the one grammar that every command and the API share. Invariant: a text has one meaning, which
does not depend on what is stored; only a bare run of hexadecimal digits may be a name as well, and
a name that exists is preferred to the digits.

    etl                     the newest version
    etl@3                   version 3
    etl@prod                what the tag `prod` names now
    etl@blake3:4f0c…        the digest; also `etl@blake3-4f0c…` and `etl@4f0c…`
    blake3:4f0c…            the digest, whatever its name; also `blake3-4f0c…` and `4f0c…`

A digest may be shortened to 8 hexadecimal digits where that is unambiguous.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from casflow.digests import PREFIX
from casflow.errors import ConfigError

SHORTEST = 8  # hexadecimal digits of a digest
_DIGITS = 64
_DIGEST = re.compile(rf"(?P<algorithm>blake3[:-])?(?P<hex>[0-9a-fA-F]{{{SHORTEST},{_DIGITS}}})")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_TAG = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,99}")
_UNENCODABLE = re.compile("[\ud800-\udfff]")  # what stands for bytes that are no UTF-8


@dataclass(frozen=True, slots=True)
class Ref:
    """One parsed ref; at most one of `version`, `tag` and `digest` is given.

    Attributes:
        text: What was written.
        name: The name, or None for a bare digest.
        version: Number of the version.
        tag: Name of the tag.
        digest: The first digits of the digest, or all 64, in lower case and without `blake3:`.
    """

    text: str
    name: str | None = None
    version: int | None = None
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def full_digest(self) -> str | None:
        """The digest, if all of it was written."""
        return PREFIX + self.digest if self.digest and len(self.digest) == _DIGITS else None

    @property
    def is_newest(self) -> bool:
        """Whether the newest version is meant."""
        return self.version is None and self.tag is None and self.digest is None


def parse_ref(text: str) -> Ref:
    """Return what a ref says.

    Raises:
        ConfigError: It is empty, no UTF-8, or what follows the `@` is no version, tag or digest.
    """
    if not isinstance(text, str) or not text:
        raise ConfigError("a name is needed", where=repr(text), hint=_HINT)
    if _UNENCODABLE.search(text):
        raise ConfigError("a name is text in UTF-8", where=ascii(text), hint=_HINT)
    name, at, selector = text.rpartition("@")
    if not at:
        return _unprefixed(text)
    if not name:
        raise ConfigError("no name before the @", where=text, hint=_HINT)
    if _NUMBER.fullmatch(selector):  # a version; digits that mean a digest need its prefix
        if len(selector) < SHORTEST:
            return Ref(text, name, version=int(selector))
        return Ref(text, name, digest=selector)
    if match := _DIGEST.fullmatch(selector):
        return Ref(text, name, digest=match["hex"].lower())
    if _TAG.fullmatch(selector):
        return Ref(text, name, tag=selector)
    raise ConfigError("no version, tag or digest after the @", where=text, hint=_HINT)


def _unprefixed(text: str) -> Ref:
    match = _DIGEST.fullmatch(text)
    if match is None:
        return Ref(text, text)
    return Ref(text, None if match["algorithm"] else text, digest=match["hex"].lower())


def parse_ref_and_path(text: str) -> tuple[Ref, str]:
    """Return ref and path of `REF:PATH`; the path is empty when there is none.

    Raises:
        ConfigError: The ref is none.
    """
    start = 0
    for algorithm in re.finditer(rf"blake3:(?=[0-9a-fA-F]{{{SHORTEST}}})", text):
        start = algorithm.end()
    head, colon, path = text[start:].partition(":")
    return parse_ref(text[:start] + head), path if colon else ""


def check_tag(tag: str) -> str:
    """Return a text that can name a tag.

    Raises:
        ConfigError: It cannot, or would read as a version or a digest.
    """
    if not isinstance(tag, str) or not _TAG.fullmatch(tag) or _DIGEST.fullmatch(tag):
        hint = "start with a letter; use letters, digits, dots, hyphens; not digits of a digest"
        raise ConfigError("not the name of a tag", where=repr(tag), hint=hint)
    return tag


_HINT = "write it as NAME, NAME@3, NAME@tag or NAME@blake3:…"
