"""References: the small JSON objects at `<slug>/<timestamp>` that name a flow's digest.

Owns slugs, timestamps, the keys made of them, and the one JSON form of a reference. Invariant: a
reference is written once and never changed, holds no code and no secret, and sorts by time among
its flow's keys; unknown keys are kept as they are, an unknown format is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from casflow.digests import digest_of, hex_of, parse
from casflow.errors import CasflowError, ConfigError, IntegrityError
from casflow.streams import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
PICKLE = "application/vnd.casflow.flow+pickle"
SCRIPT = "text/x-python"
BUNDLE = "application/vnd.casflow.flow+bundle"
MODULE = "application/vnd.casflow.flow+module"
TREE = "application/vnd.casflow.tree+json"
LONGEST_NAME = 1000  # characters
LARGEST = 4 * 2**20  # bytes of a reference
_MOST_INCARNATIONS = 2**32
_LARGEST_BLOB = 2**63
_LONGEST_SLUG = 120  # characters; a file name may have 255 bytes on common systems


def slug(name: str) -> str:
    """Return the folder name of a flow: lower-case letters, digits and hyphens, never empty."""
    from slugify import slugify

    text = slugify(name)[:_LONGEST_SLUG].strip("-")
    return text or f"flow-{hex_of(digest_of(name.encode()))[:8]}"


def stamp(moment: datetime) -> str:
    """Return the fixed-width UTC form of a moment, so that keys sort by time."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.lower().replace(":", "-").replace(".", "-").replace("+", "-")


def check_name(name: object) -> str:
    """Return the name of a flow if it can be one.

    Raises:
        ConfigError: It is empty, not text, too long, or holds control characters.
    """
    if not isinstance(name, str) or not name:
        raise ConfigError("A name must be provided for the flow")
    if len(name) > LONGEST_NAME:
        what = f"the flow's name has {len(name)} characters"
        raise ConfigError(what, where=f"{name[:20]}…", hint=f"use at most {LONGEST_NAME}")
    if min(name) < " " or visible(name) != name:
        raise ConfigError("the flow's name holds a control character", where=repr(name[:40]))
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ConfigError("the flow's name is not valid Unicode", where=repr(name[:40])) from error
    return name


@dataclass(frozen=True, slots=True)
class BlobName:
    """The name of one blob in a store: digest, incarnation, and size in bytes."""

    digest: str
    incarnation: int
    size: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"digest": self.digest, "incarnation": self.incarnation, "size": self.size}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> BlobName:
        """Read the JSON form.

        Raises:
            CasflowError, KeyError, TypeError, ValueError: It is not one.
        """
        incarnation = _number(form["incarnation"], _MOST_INCARNATIONS)
        return cls(parse(form["digest"]), incarnation, _number(form["size"], _LARGEST_BLOB))


@dataclass(frozen=True, slots=True)
class Reference:
    """What one registration stored, and how to read it.

    Attributes:
        flow: Name of the flow.
        blob: The flow's own blob.
        media_type: `PICKLE`, `SCRIPT`, `BUNDLE` or `MODULE`.
        created: ISO 8601 with microseconds and offset.
        labels: Labels of the registration, sorted.
        attachments: Further blobs of the flow, by role; roots for gc like the flow's own.
        environment: Versions that the flow was built with.
        project: Project that it was registered in; empty in references of older versions.
        extra: Keys that this version of casflow does not know, kept as they are.
    """

    flow: str
    blob: BlobName
    media_type: str
    created: str
    labels: tuple[str, ...] = ()
    attachments: Mapping[str, BlobName] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    project: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Digest of the flow's blob."""
        return self.blob.digest

    def blobs(self) -> tuple[BlobName, ...]:
        """Return every blob that this reference is a root of."""
        return (self.blob, *self.attachments.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form as a dictionary."""
        return {
            **self.extra,
            **self.blob.to_dict(),
            "format": FORMAT,
            "flow": self.flow,
            "media_type": self.media_type,
            "created": self.created,
            "labels": list(self.labels),
            "attachments": {role: blob.to_dict() for role, blob in self.attachments.items()},
            "environment": dict(self.environment),
            **({"project": self.project} if self.project else {}),
        }

    def to_bytes(self) -> bytes:
        """Return the JSON form: one object, UTF-8, sorted keys, a newline at the end."""
        return (json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_dict(cls, form: Mapping[str, Any], *, where: object) -> Reference:
        """Read the JSON form from a dictionary.

        Raises:
            IntegrityError: It is not a reference, or one of a format that is not known here.
        """
        if not isinstance(form, dict) or "format" not in form:
            raise IntegrityError("not a reference", where=where)
        if form["format"] != FORMAT:
            hint = f"this casflow reads format {FORMAT}; use a newer one"
            raise IntegrityError(
                f"reference of unknown format {form['format']!r}", where=where, hint=hint
            )
        try:
            return cls._from_known(dict(form))
        except (
            KeyError,
            TypeError,
            ValueError,
            OverflowError,
            AttributeError,
            CasflowError,
        ) as error:
            what = f"damaged reference ({str(error)[:100]!r})"
            raise IntegrityError(what, where=where) from error

    @classmethod
    def _from_known(cls, form: dict[str, Any]) -> Reference:
        del form["format"]
        blob = BlobName.from_dict({key: form.pop(key) for key in ("digest", "incarnation", "size")})
        attachments = form.pop("attachments")  # always written; a root that is left out is damage
        return cls(
            flow=check_name(form.pop("flow")),
            blob=blob,
            media_type=_text(form.pop("media_type")),
            created=_moment(form.pop("created")),
            labels=tuple(map(_text, _listed(form.pop("labels", [])))),
            attachments={role: BlobName.from_dict(each) for role, each in attachments.items()},
            environment=dict(form.pop("environment", {})),
            project=_text(form.pop("project", "")),
            extra=form,
        )

    @classmethod
    def from_bytes(cls, data: bytes, *, where: object) -> Reference:
        """Read the JSON form.

        Raises:
            IntegrityError: It is not a reference, or one of a format that is not known here.
        """
        if len(data) > LARGEST:
            raise IntegrityError(f"a reference of {len(data)} bytes", where=where)
        try:
            form = json.loads(data, parse_float=_finite, parse_constant=_finite)
        except (ValueError, RecursionError) as error:
            what = f"damaged reference ({str(error)[:100]})"
            raise IntegrityError(what, where=where) from error
        return cls.from_dict(form, where=where)

    def same_content(self, other: Reference) -> bool:
        """Tell whether two references name the same flow, bytes, labels and attachments."""
        return self._content() == other._content()

    def _content(self) -> tuple[Any, ...]:
        attachments = sorted((role, each.digest) for role, each in self.attachments.items())
        return (self.flow, self.project, self.digest, self.media_type, self.labels, attachments)


def _number(value: object, limit: int) -> int:
    if type(value) is not int or not 0 <= value < limit:
        raise ValueError(f"no number from 0 to {limit}: {str(value)[:40]!r}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        raise TypeError(f"no text of at most {LONGEST_NAME} characters: {str(value)[:40]!r}")
    value.encode()
    return value


def _moment(value: object) -> str:
    text = _text(value)
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(f"a time without an offset: {text!r}")
    return text


def _listed(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"no list: {str(value)[:40]!r}")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"not a finite number: {text[:40]}")
    return number
