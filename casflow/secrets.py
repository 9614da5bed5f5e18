"""Secrets: where passwords, tokens and keys come from, and how they are kept out of sight.

Owns the lookup: the context, the environment, `<home>/secrets.toml`, the keyring. Invariant: a
value is in no repr, `redact` knows each value that was handed out, and none is handed out to code
that builds a flow, which would be stored with it.
"""

from __future__ import annotations

import os
import stat
import tomllib
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from casflow import building, config
from casflow.errors import AccessError, ConfigError, MissingSecretError
from casflow.files import open_file
from casflow.redaction import HIDDEN, decoded, redact, remember

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["HIDDEN", "Secret", "decoded", "find", "given", "redact", "remember", "variable"]

KEYRING_SERVICE = "casflow"
_given: ContextVar[Mapping[str, Any]] = ContextVar("casflow_secrets", default={})  # noqa: B039


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
            ConfigError: A flow is being built, which would hold the value for all to read.
            MissingSecretError: It is defined nowhere.
            AccessError: `secrets.toml` can be read by others.
        """
        if building.flows.get():
            hint = "read it inside of a task, which runs after the flow was stored"
            raise ConfigError("a secret is read while a flow is built", where=self.name, hint=hint)
        value = find(self.name)
        if value is None:
            value = _from_keyring(self.name)
        if value is None:
            hint = f"set the environment variable {self.name} or write it to {_file()}"
            raise MissingSecretError(f'Local Secret "{self.name}" was not found', hint=hint)
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
            return _handed_out(value)
    return None


def _handed_out(value: Any) -> Any:
    """Return a secret's value without the newline that an editor or `echo` left at its end."""
    if isinstance(value, str):
        remember(value)
        value = value.removesuffix("\n").removesuffix("\r")
    remember(value)
    return value


def _optional(value: str | None) -> str | None:
    found: str | None = None if value is None else _handed_out(value)
    return found


def variable(name: str) -> str | None:
    """Return an environment variable that may hold a secret, or None when it is not set."""
    return _optional(os.environ.get(name))


@contextmanager
def given(values: Mapping[str, Any]) -> Iterator[None]:
    """Give secrets to everything inside the `with` block; they win over all other sources."""
    remember(list(values.values()))
    token = _given.set({**_given.get(), **values})
    try:
        yield
    finally:
        _given.reset(token)


def _file() -> Path:
    return config.load().home / "secrets.toml"


def _from_file(name: str) -> Any:
    path = _file()
    try:
        with open_file(path) as file:
            _check_mode(os.fstat(file.fileno()).st_mode, path)
            return tomllib.loads(file.read().decode("utf-8-sig")).get(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise AccessError("cannot read the secrets", where=path) from error
    except ConfigError:
        raise
    except (ValueError, RecursionError):
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
    return _optional(value)
