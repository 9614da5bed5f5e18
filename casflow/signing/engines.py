"""Who computes signatures: ssh-keygen where there is one, else the package `cryptography`.

Owns the choice, and which of the user's keys signs. Invariant: both engines answer the same
question, whether a signature is right; trust is decided elsewhere, once for both.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from casflow import config
from casflow.errors import ConfigError, NotFoundError
from casflow.signing import openssh, packaged
from casflow.signing.keys import parse_line
from casflow.signing.statement import LARGEST, Signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from casflow.signing.sshsig import Signature
    from casflow.signing.statement import Statement

_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_ed25519_sk", "id_ecdsa_sk", "id_rsa")
_LITERAL = ("ssh-", "ecdsa-", "sk-")


def is_right(signed: Signed) -> bool:
    """Tell whether a signature is one of its key over what it stands beside.

    Raises:
        ConfigError: Neither engine is there.
    """
    right: bool = _engine().is_right(signed.signature, signed.message)
    return right


def _engine() -> ModuleType:
    if openssh.program() is not None:
        return openssh
    if packaged.is_installed():
        return packaged
    hint = "install OpenSSH, or casflow[sign]"
    raise ConfigError("nothing here can check or make signatures", hint=hint)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs.

    Attributes:
        name: Path of the private or public key, or the public key itself, which the user's
            ssh-agent then signs with.
    """

    name: str

    @classmethod
    def find(cls, given: str = "") -> SigningKey:
        """Return the key that is named, else that of the settings, else the user's own.

        Raises:
            NotFoundError: There is none.
        """
        named = given or config.load().signing_key
        if named:
            return cls(_checked(named.removeprefix("key::")))
        for name in _DEFAULT_KEYS:
            path = Path("~/.ssh").expanduser() / name
            if path.exists():
                return cls(str(path))
        for line in openssh.agent_keys():
            return cls(line)
        hint = "name one after --sign, or in the setting signing_key; `ssh-keygen` makes one"
        raise NotFoundError("no key to sign with", where="~/.ssh", hint=hint)

    @classmethod
    def asked(cls, sign: bool | str) -> SigningKey | None:  # noqa: FBT001 - what `sign=` was given
        """Return the key that an argument `sign` asks for: None, the user's own, or a named one.

        Raises:
            NotFoundError: There is no such key.
        """
        if sign is False:
            return None
        return cls.find("" if sign is True else sign)

    def sign(self, message: bytes) -> Signature:
        """Sign a message.

        Raises:
            AccessError: The key refuses, or needs what is not here.
            ConfigError: Neither engine is there.
        """
        engine = _engine()
        with self._file() as path:
            signature: Signature = engine.sign(message, path)
        return signature

    def signed(self, statement: Statement) -> Signed:
        """Return a statement with its signature; see `sign`.

        Raises:
            ConfigError: The statement is longer than anybody reads.
        """
        message = statement.to_bytes()
        signed = Signed(statement, self.sign(message), message)
        if len(signed.to_bytes()) > LARGEST:
            what = f"{len(statement.attachments)} attachments are too many to sign"
            raise ConfigError(what, where=statement.name)
        return signed

    @contextmanager
    def _file(self) -> Iterator[Path]:
        """Give the key's file, or one with the public key of one that the agent holds."""
        if not self.name.startswith(_LITERAL):
            yield Path(self.name).expanduser()
            return
        with tempfile.NamedTemporaryFile("w", prefix="casflow-", suffix=".pub") as file:
            file.write(f"{self.name}\n")
            file.flush()
            yield Path(file.name)


def _checked(name: str) -> str:
    if name.startswith(_LITERAL):
        parse_line(name)
    elif not Path(name).expanduser().is_file():
        raise NotFoundError("no such key to sign with", where=name)
    return name
