"""Names of images: `[host/]repository[:tag][@digest]`.

Owns how such a name is taken apart and put together. Invariant: a name that left `parse` is
well formed, and its text is what an engine and a registry both take.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from casflow.digests import digest_of, hex_of
from casflow.errors import ConfigError
from casflow.redaction import remember_url
from casflow.reference import slug

if TYPE_CHECKING:
    from collections.abc import Iterable

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HUB = "docker.io"
_HOST = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?")
_LOOPBACK = re.compile(r"(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:\d+)?")


@dataclass(frozen=True, slots=True)
class ImageName:
    """The name of an image.

    Attributes:
        host: Host and port of its registry; None for what an engine takes from its default one.
        repository: Path in the registry.
        tag: Its mutable name, if it has one.
        digest: Digest of its manifest, if it is known.
    """

    host: str | None
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """Read a name.

        Raises:
            ConfigError: It is not the name of an image.
        """
        rest, _, digest = text.partition("@")
        head, slash, tail = rest.partition("/")
        is_host = bool(slash) and ("." in head or ":" in head or head == "localhost")
        host, path = (head, tail) if is_host else (None, rest)
        repository, _, tag = path.partition(":")
        name = cls(host, repository, tag or None, digest or None)
        if not name._is_well_formed():
            hint = "write it as registry/name:tag, the name in lower case"
            raise ConfigError("not the name of an image", where=repr(text), hint=hint)
        return name

    def _is_well_formed(self) -> bool:
        return (
            _REPOSITORY.fullmatch(self.repository) is not None
            and (self.host is None or _HOST.fullmatch(self.host) is not None)
            and (self.tag is None or _TAG.fullmatch(self.tag) is not None)
            and (self.digest is None or _DIGEST.fullmatch(self.digest) is not None)
        )

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return self.untagged + tag + (f"@{self.digest}" if self.digest else "")

    @property
    def untagged(self) -> str:
        """Host and repository."""
        return f"{self.host}/{self.repository}" if self.host else self.repository

    @property
    def reference(self) -> str:
        """What a registry is asked for: the digest, else the tag, else `latest`."""
        return self.digest or self.tag or "latest"

    @property
    def pinned(self) -> str:
        """The shortest text that an engine takes for exactly this image."""
        return f"{self.untagged}@{self.digest}" if self.digest else str(self.tagged())

    def tagged(self, tag: str | None = None) -> ImageName:
        """Return the name with a tag, its own or `latest` by default, and without a digest."""
        return replace(self, tag=tag or self.tag or "latest", digest=None)

    def at(self, digest: str) -> ImageName:
        """Return the name with a manifest's digest."""
        return replace(self, digest=digest)

    def name_in(self, registry_url: str | None) -> str:
        """Return the repository without the folder that a registry's URL names."""
        folder = split_url(registry_url)[1].partition("/")[2]
        return self.repository.removeprefix(f"{folder}/")

    @property
    def api_host(self) -> str:
        """Host that the registry's HTTP API is asked at."""
        return "registry-1.docker.io" if self.host in (None, _HUB) else str(self.host)

    @property
    def api_repository(self) -> str:
        """Repository as the registry's HTTP API knows it."""
        is_short = self.host in (None, _HUB) and "/" not in self.repository
        return f"library/{self.repository}" if is_short else self.repository


def split_url(url: str | None) -> tuple[str | None, str]:
    """Return the scheme that a registry's URL has, if any, and the rest of it."""
    scheme, separator, rest = (url or "").rpartition("://")
    return (scheme if separator else None), rest.strip("/")


def check_url(url: str | None) -> str | None:
    """Return a registry's URL if it holds no credential.

    Raises:
        ConfigError: It does, and would be written wherever the name of an image is.
    """
    user, at, host = split_url(url)[1].rpartition("@")
    if at and "/" not in user:
        remember_url(f"https://{user}@{host}")
        hint = "take it out, and log in with `docker login`"
        raise ConfigError("the address holds a credential", where=host, hint=hint)
    return url


def scheme_of(host: str) -> str:
    """Return how a registry is spoken to: over plain HTTP on this machine only."""
    return "http" if _LOOPBACK.fullmatch(host) else "https"


def name_for(flows: Iterable[str]) -> str:
    """Return the name that an image of these flows gets: the only flow's, or one made of all."""
    names = sorted(flows)
    if len(names) == 1:
        return slug(names[0])
    return f"flows-{hex_of(digest_of(chr(0).join(names).encode()))[:16]}"
