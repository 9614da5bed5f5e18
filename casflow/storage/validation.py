"""What is checked of a host's answers, and of what a path turns out to hold.

Invariant: an error names what was found and what to write instead; content that a host names by a
git blob id is not passed on under another.
"""

from __future__ import annotations

import base64
import hashlib
import re
from urllib.parse import urlsplit

from casflow.errors import ConfigError, IntegrityError
from casflow.secrets import remember

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LFS = b"version https://git-lfs.github.com/spec/"


def is_commit(ref: str | None) -> bool:
    """Tell whether a ref is the full id of a commit."""
    return ref is not None and _COMMIT.fullmatch(ref) is not None


def clean_url(url: str) -> str:
    """Return a host's address with its scheme and without a slash at the end.

    Raises:
        ConfigError: It holds a credential, which would be written wherever the address is.
    """
    url = url if "://" in url else f"https://{url}"
    parts = urlsplit(url)
    if parts.username or parts.password:
        remember(parts.password or parts.username)
        hint = "take it out and name a secret instead"
        raise ConfigError("the address holds a credential", where=parts.hostname, hint=hint)
    return url.rstrip("/")


def refuse_unnamed(values: tuple[object, ...], kind: str, names: str) -> None:
    """Refuse arguments by position whose order differs among those that people know.

    Taken in another order, a token's secret or an account's key would be used as a path, and be
    written where paths are. The values are in no message: one may be a credential.

    Raises:
        ConfigError: There are some.
    """
    if values:
        remember([each for each in values if isinstance(each, str)])
        hint = f"write them by name: {names}"
        raise ConfigError(f"{kind} takes these arguments by name only", hint=hint)


def check_commit(text: object, *, where: str) -> str:
    """Return a commit's id that a host gave.

    Raises:
        IntegrityError: It is not one.
    """
    if not isinstance(text, str) or not is_commit(text):
        hint = "is this the address of the host's API?"
        raise IntegrityError("the host's answer names no commit", where=where, hint=hint)
    return text


def check_id(text: object, *, where: str) -> str:
    """Return the id of a git object that a host gave.

    Raises:
        IntegrityError: It is not one.
    """
    if not isinstance(text, str) or not is_commit(text):
        raise IntegrityError("the host's answer names no git object", where=where)
    return text


def decode_base64(text: str, *, where: str) -> bytes:
    """Return the bytes of content that a host gave as base64.

    Raises:
        IntegrityError: It is not base64.
    """
    try:
        return base64.b64decode(text)
    except ValueError as error:
        raise IntegrityError("the content is not base64", where=where) from error


def check_blob_id(data: bytes, identity: str, *, where: str) -> bytes:
    """Return bytes whose git blob id is the one that the host gave.

    Raises:
        IntegrityError: They have another.
    """
    kind = "sha256" if len(identity) == 64 else "sha1"  # noqa: PLR2004 - as long as its digits
    actual = hashlib.new(kind, b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    if actual != identity:
        what = "content does not have its git blob id"
        raise IntegrityError(what, where=where, expected=identity, actual=actual)
    return data


def is_lfs_pointer(data: bytes) -> bool:
    """Tell whether bytes only say where Git LFS keeps a file's content."""
    return data.startswith(_LFS)


def repository_path(text: str, example: str) -> str:
    """Return a repository's path on its host, as people copy it: with slashes around, or `.git`.

    Args:
        text: What was given.
        example: How it is written.

    Raises:
        ConfigError: It is a whole address, or no path.
    """
    path = text.strip().strip("/").removesuffix(".git")
    if "://" in path or "@" in path or not path or path.isspace():
        hint = f"write {example}; the host is named by itself"
        shown = path.rpartition("@")[2]
        raise ConfigError("not the path of a repository", where=shown, hint=hint)
    return path


def check_script(data: bytes, *, where: str) -> None:
    """Check that bytes can be a script at all.

    Raises:
        ConfigError: They are a pointer to something else, or binary; the message says what to do.
    """
    if is_lfs_pointer(data):
        hint = "keep scripts out of Git LFS"
        raise ConfigError("the path holds a Git LFS pointer", where=where, hint=hint)
    if b"\0" in data:
        raise ConfigError("the path holds a binary file", where=where, hint="name a .py file")
    if data.strip() and not re.search(rb"\s", data.strip()):
        hint = f"name {data.decode(errors='replace')!r} itself if that is a symbolic link's target"
        raise ConfigError("the path holds one word, no script", where=where, hint=hint)


def not_a_file(kind: str, where: str) -> ConfigError:
    """Return the error of a path that holds something else than a file."""
    return ConfigError(f"the path is a {kind}", where=where, hint="name the script's own path")
