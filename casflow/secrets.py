"""Secrets: where passwords, tokens and keys come from, and how they are kept out of sight.

Owns the lookup (the context, the environment, `<home>/secrets.toml`, the keyring) and the memory
of every value that was handed out. Invariant: a value is in no repr, and `redact` removes each
value that this process has seen from a text; errors and log lines go through it.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from casflow import config
from casflow.errors import AccessError, ConfigError, MissingSecretError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

HIDDEN = "***"
KEYRING_SERVICE = "casflow"
_SHORTEST = 4  # characters; hiding shorter values would make any text unreadable
_given: ContextVar[Mapping[str, Any]] = ContextVar("casflow_secrets", default={})  # noqa: B039
_seen: set[str] = set()
_SIGNED = re.compile(
    r"(?i)\b((?:AccountKey|SharedAccessSignature|sig|X-Amz-Signature|X-Amz-Security-Token"
    r"|X-Goog-Signature)=)[^;&\s'\"]+"
    r"|(://)[^/\s@]+(?=@)"
)


class Secret:
    """A secret by name; the value is looked up at each `get` and kept nowhere.

    Args:
        name: Its name: a key of the context, an environment variable, a key of `secrets.toml`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def get(self) -> Any:
        """Return the value; text that is JSON is decoded.

        Raises:
            MissingSecretError: It is defined nowhere.
            AccessError: `secrets.toml` can be read by others.
        """
        value = find(self.name)
        if value is None:
            value = _from_keyring(self.name)
        if value is None:
            hint = f"set the environment variable {self.name} or write it to {_file()}"
            raise MissingSecretError("a secret is missing", where=self.name, hint=hint)
        return decoded(value)

    def __repr__(self) -> str:
        return f"<Secret: {self.name}>"


def find(name: str) -> Any:
    """Return the value of a secret as it is written, or None when it is not found.

    The keyring is not asked: it is slow, may prompt, and is for secrets that a user named.

    Raises:
        AccessError: `secrets.toml` can be read by others.
    """
    for source in (_given.get().get, os.environ.get, _from_file):
        value = source(name)
        if value is not None:
            remember(value)
            return value
    return None


def variable(name: str) -> str | None:
    """Return an environment variable that may hold a secret, or None when it is not set."""
    value = os.environ.get(name)
    remember(value)
    return value


@contextmanager
def given(values: Mapping[str, Any]) -> Iterator[None]:
    """Give secrets to everything inside the `with` block; they win over all other sources."""
    remember(values)
    token = _given.set({**_given.get(), **values})
    try:
        yield
    finally:
        _given.reset(token)


def remember(value: Any) -> None:
    """Take note of a secret value, with all text inside it, so that `redact` removes it."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            remember(each)
    elif isinstance(value, str):
        if len(value) >= _SHORTEST:
            _seen.update(
                piece for piece in (value, value.strip(), json.dumps(value)[1:-1]) if piece
            )
        if isinstance(inner := decoded(value), dict | list):
            remember(inner)


def redact(text: str) -> str:
    """Return a text without the values of secrets seen so far, nor signatures in addresses."""
    for value in sorted(_seen, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return _SIGNED.sub(lambda match: f"{match[1] or match[2]}{HIDDEN}", text)


def decoded(value: Any) -> Any:
    """Return what a value stands for: text that is JSON is read, all else is left as it is."""
    if not isinstance(value, str | bytes):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _file() -> Path:
    return config.load().home / "secrets.toml"


def _from_file(name: str) -> Any:
    path = _file()
    try:
        with path.open("rb") as file:
            _check_mode(os.fstat(file.fileno()).st_mode, path)
            return tomllib.load(file).get(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise AccessError("cannot read the secrets", where=path) from error
    except ValueError:
        # The parser's own message quotes the line, and with it the secret.
        raise ConfigError("not valid TOML", where=path) from None


def _check_mode(mode: int, path: Path) -> None:
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        hint = f"run chmod 600 {path}"
        raise AccessError("others can read the secrets", where=path, hint=hint)


def _from_keyring(name: str) -> str | None:
    try:
        import keyring
    except ImportError:
        return None
    try:
        value: str | None = keyring.get_password(KEYRING_SERVICE, name)
    except (keyring.errors.KeyringError, RuntimeError):
        return None
    remember(value)
    return value
