"""What is signed: a statement that a name, or a tag of it, means certain bytes.

Owns the one JSON line that a signature covers, and the text that holds both. Invariant: a statement
says everything on which depends what is run: the bytes, how they are read, and where in them a run
starts; a text that was read is written again byte for byte.

    {"at": "…", "attachments": {}, "digest": "blake3:…", "entry": "", "format": 1, "image": "",
    "kind": "version", "media_type": "…", "name": "etl", "size": 812}
    -----BEGIN SSH SIGNATURE-----
    …
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from casflow.digests import digest_of, parse
from casflow.errors import CasflowError, IntegrityError
from casflow.reference import MODULE, TREE, check_name
from casflow.refs import check_tag
from casflow.signing.sshsig import BEGIN, Signature, parse_signature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.reference import Reference

FORMAT = 1
LARGEST = 128 * 1024  # bytes of a statement and its signature
_MAX_COUNTER = 10**8
_VERSION, _TAG = "version", "tag"
_ENTRIES = {TREE: "script", MODULE: "module"}  # what of the environment says where a run starts


@dataclass(frozen=True, slots=True)
class Move:
    """What a statement says of a tag beyond the version that it names.

    Attributes:
        tag: The tag.
        counter: Number of the move, from 1.
        before: Digest that the tag named before, or None.
    """

    tag: str
    counter: int
    before: str | None


@dataclass(frozen=True, slots=True)
class Statement:
    """What somebody signs.

    Attributes:
        name: The name.
        digest: Digest of the content.
        size: Its bytes.
        media_type: How it is read.
        entry: Script or module that a run starts in; empty where the content says it.
        attachments: Digests of further content by role; a tree's own digest covers all of it.
        image: Exact name of the image that a flow is run in; empty where it is in none.
        move: The move of a tag, or None where a version is signed.
        at: When, by the signer's clock: ISO 8601 with microseconds and offset; empty in a
            statement that nobody signed.
    """

    name: str
    digest: str
    size: int
    media_type: str
    entry: str
    attachments: Mapping[str, str]
    image: str = ""
    move: Move | None = None
    at: str = ""

    @classmethod
    def of(cls, reference: Reference, move: Move | None = None) -> Statement:
        """Return what has to be signed of a reference."""
        media_type = reference.media_type
        entry = reference.environment.get(_ENTRIES.get(media_type, ""), "")
        attached = {} if media_type == TREE else reference.attachments
        return cls(
            reference.flow,
            reference.digest,
            reference.blob.size,
            media_type,
            str(entry),
            {role: blob.digest for role, blob in attached.items()},
            str(reference.extra.get("image", "")),
            move,
        )

    def now(self) -> Statement:
        """Return the statement with the present moment."""
        return replace(self, at=datetime.now(UTC).isoformat(timespec="microseconds"))

    def to_bytes(self) -> bytes:
        """Return the line that is signed, with its newline."""
        form: dict[str, Any] = {
            "format": FORMAT,
            "kind": _VERSION if self.move is None else _TAG,
            "name": self.name,
            "digest": self.digest,
            "size": self.size,
            "media_type": self.media_type,
            "entry": self.entry,
            "attachments": dict(self.attachments),
            "image": self.image,
            "at": self.at,
        }
        if self.move is not None:
            form |= {
                "tag": self.move.tag,
                "counter": self.move.counter,
                "before": self.move.before,
            }
        return (json.dumps(form, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @property
    def subject(self) -> str:
        """Digest of what is said, whenever it is."""
        return digest_of(replace(self, at="").to_bytes())

    @property
    def content(self) -> Statement:
        """The statement of the version, without tag and time."""
        return replace(self, move=None, at="")

    @property
    def moment(self) -> float:
        """When it was signed, in seconds since the epoch."""
        return datetime.fromisoformat(self.at).timestamp()

    @classmethod
    def from_bytes(cls, line: bytes) -> Statement:
        """Read the line that is signed.

        Raises:
            IntegrityError: It is no statement, or not written as one is.
        """
        try:
            statement = cls._read(json.loads(line))
            same = statement.to_bytes() == line
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            OverflowError,
            RecursionError,
            CasflowError,
        ) as error:
            raise IntegrityError(f"a damaged statement ({str(error)[:100]})") from error
        if not same:
            raise IntegrityError("a statement that is not in its one form")
        return statement

    @classmethod
    def _read(cls, form: Mapping[str, Any]) -> Statement:
        if form["format"] != FORMAT:
            raise ValueError(f"unknown format {str(form['format'])[:20]!r}")
        move = None
        if form["kind"] == _TAG:
            before = form["before"]
            counter = _number(form["counter"], _MAX_COUNTER)
            move = Move(check_tag(form["tag"]), counter, None if before is None else parse(before))
        at = _text(form["at"])
        if datetime.fromisoformat(at).tzinfo is None:
            raise ValueError("a time without an offset")
        return cls(
            check_name(form["name"]),
            parse(form["digest"]),
            _number(form["size"], 2**63),
            _text(form["media_type"]),
            _text(form["entry"]),
            {_text(role): parse(each) for role, each in form["attachments"].items()},
            _text(form["image"]),
            move,
            at,
        )


def same_statement(one: Reference, other: Reference) -> bool:
    """Tell whether who signs one reference signs the other."""
    return Statement.of(one) == Statement.of(other)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"no text: {str(value)[:40]!r}")
    return value


def _number(value: object, limit: int) -> int:
    if type(value) is not int or not 0 <= value < limit:
        raise ValueError(f"no number from 0 to {limit}: {str(value)[:40]!r}")
    return value


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement and a signature over it; nobody has checked it yet.

    Attributes:
        statement: What is said.
        signature: The signature.
        message: The bytes that it covers.
    """

    statement: Statement
    signature: Signature
    message: bytes

    def to_bytes(self) -> bytes:
        """Return the text that is kept: the statement's line, then the signature."""
        return self.message + self.signature.to_text().encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Signed:
        """Read the text that is kept.

        Raises:
            IntegrityError: It is none.
        """
        if len(data) > LARGEST:
            raise IntegrityError(f"a signed statement of {len(data)} bytes")
        line, newline, rest = data.partition(b"\n")
        if not newline or not rest.startswith(BEGIN.encode()):
            raise IntegrityError("not a signed statement")
        message = line + newline
        signature = parse_signature(rest.decode(errors="replace"))
        return cls(Statement.from_bytes(message), signature, message)
