"""Every error that casflow raises, in a tree ordered by what the caller does next.

    CasflowError                 exit 1
    ├── NotFoundError                 3   there is no such thing: check the name
    ├── IntegrityError                4   bytes that are not what their name says: do not use them
    ├── ConflictError                 5   somebody was there first: look at what they made
    ├── AccessError                   6   not allowed, or no credential: change who asks
    ├── UnavailableError              7   try again later; the only family that is retried
    ├── LoadError                     1   the bytes are right, but they do not become a flow here
    └── ConfigError                   2   the request itself is wrong: change the call
        └── MissingExtraError         2   install what the message names

Invariant: an error prints as one line (what, where, what to do), survives pickling, and holds no
secret. Errors of a backend's own library are translated at its border and chained.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEAD, _TAIL = 1500, 400  # characters of a text that is too long


def bounded(text: str) -> str:
    """Return a text, or its head and tail when it is longer than a message may be."""
    if len(text) <= _HEAD + _TAIL:
        return text
    left_out = len(text) - _HEAD - _TAIL
    return f"{text[:_HEAD]} … {left_out} characters left out … {text[-_TAIL:]}"


def did_you_mean(word: str, words: Iterable[str], otherwise: str | None = None) -> str | None:
    """Return the hint that names which of some words was probably meant, or another hint."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(words), 1)
    return f"did you mean {near[0]!r}?" if near else otherwise


class CasflowError(Exception):
    """Base of all errors of casflow.

    Args:
        what: What went wrong, a clause without a final stop.
        where: The file, key, URL or name that it happened at.
        hint: What the reader can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: object = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = None if where is None else str(where)
        self.hint = hint

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.what}: {self.where}"
        line = text if self.hint is None else f"{text}; {self.hint}"
        from casflow.redaction import redact  # imports what a flow that is built needs not

        return redact(" ".join(line.split()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.what, self.__dict__.copy())

    @classmethod
    def rebuilt(cls, what: str, state: dict[str, Any]) -> Self:
        """Make the error again from its pickled parts, whatever its constructor takes."""
        error = cls.__new__(cls, what)
        error.args = (what,)
        error.__dict__.update(state)
        return error


def _rebuild(cls: type[CasflowError], what: str, state: dict[str, Any]) -> CasflowError:
    return cls.rebuilt(what, state)


class NotFoundError(CasflowError, LookupError):
    """There is no such flow, blob, reference, secret, project or run."""

    exit_code = 3


class FlowNotFoundError(NotFoundError, ValueError):
    """A file or module holds no such flow."""


class FlowModuleNotFoundError(NotFoundError, ModuleNotFoundError):
    """There is no module of the name that should hold a flow."""


class FlowNotInStorageError(NotFoundError, ValueError):
    """A storage was asked for a flow that it does not hold."""


class IntegrityError(CasflowError):
    """Bytes do not have the digest that they are named by, or a record cannot be read.

    Args:
        what: What was read.
        where: Where it was read from.
        expected: The digest that it should have.
        actual: The digest that it has.
        hint: What the reader can do about it.
    """

    exit_code = 4

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: str | None = None,
        actual: str | None = None,
        hint: str | None = None,
    ) -> None:
        if expected is not None:
            what = f"{what}: expected {expected}, found {actual}"
        super().__init__(what, where=where, hint=hint)
        self.expected = expected
        self.actual = actual


class ConflictError(CasflowError):
    """Something of that name is already there."""

    exit_code = 5


class DuplicateFlowError(ConflictError, ValueError):
    """A flow of that name is already in the storage."""


class AccessError(CasflowError):
    """The request was refused, or a credential that it needs is missing."""

    exit_code = 6


class SignatureError(AccessError):
    """A name, or what it names, is not signed as this machine's policy requires.

    Args:
        what: What is wrong.
        reason: `unsigned`, `unknown signer`, `wrong namespace`, `expired`, `revoked`, `altered`,
            `replayed` or `below threshold`.
        where: The name.
        hint: What the reader can do about it.
    """

    def __init__(
        self, what: str, *, reason: str, where: object = None, hint: str | None = None
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.reason = reason


class MissingSecretError(AccessError, ValueError):
    """A secret is defined nowhere."""


class UnavailableError(CasflowError):
    """A service or device cannot be used now; the same request may succeed later."""

    exit_code = 7


class TransferError(UnavailableError, InterruptedError):
    """An image could not be pulled or pushed."""


class LoadError(CasflowError):
    """The bytes are as they were stored, but no flow could be made of them here."""


class ConfigError(CasflowError, ValueError):
    """The request cannot be carried out as it is written."""

    exit_code = 2


class NotOfferedError(ConfigError, ImportError, TypeError):
    """A word of another library, which casflow does not have."""


class NotOfferedAttributeError(ConfigError, AttributeError):
    """An attribute of another library's objects, which those of casflow do not have."""


class NotAFlowError(ConfigError, TypeError):
    """What was named as a flow is something else."""


class WebhookError(ConfigError, RuntimeError):
    """A webhook's verb, script or template cannot be used."""


class MissingExtraError(ConfigError, ImportError):
    """An optional package is needed.

    Args:
        package: The package that could not be imported.
        extra: The extra of casflow that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        ConfigError.__init__(
            self, f"the package {package} is needed", hint=f"install casflow[{extra}]"
        )
        self.package = package
        self.extra = extra


_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MALFORMED = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ELOOP}


def from_os(error: OSError, where: object) -> CasflowError:
    """Return the error of casflow that stands for one of the operating system."""
    what = (error.strerror or str(error)).lower()
    if isinstance(error, FileNotFoundError):
        return NotFoundError(what, where=where)
    if isinstance(error, FileExistsError):
        return ConflictError("already exists", where=where)
    if error.errno in _REFUSED:
        return AccessError(what, where=where, hint="check who owns the folder and its permissions")
    if error.errno in _FULL:
        return UnavailableError(what, where=where, hint="make room and try again")
    if error.errno in _MALFORMED:
        return ConfigError(what, where=where)
    return UnavailableError(what, where=where)


@contextmanager
def os_errors(where: object) -> Iterator[None]:
    """Translate errors of the operating system that happen at `where`."""
    try:
        yield
    except OSError as error:
        raise from_os(error, where) from error
