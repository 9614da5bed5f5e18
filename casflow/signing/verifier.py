"""Whether a name may mean a digest on this machine, by its policy.

Owns the question that is asked where a name becomes a digest and where a reference is loaded.
Invariant: under the policy nothing passes that is not signed by as many trusted signers as it
says; trust and policy come from this machine's settings alone; what passed once passes without a
request until the trusted keys, the revoked ones or the policy change.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from casflow import config
from casflow.digests import digest_of
from casflow.errors import ConfigError, SignatureError, os_errors
from casflow.files import read_whole
from casflow.signing.allowed import (
    AllowedSigner,
    find_signer,
    matches,
    parse_allowed,
    parse_revoked,
)
from casflow.signing.counters import Counters
from casflow.signing.engines import is_right
from casflow.signing.objects import readable_signatures
from casflow.signing.statement import Move, Signed, Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from casflow.cache import Cache
    from casflow.config import Config
    from casflow.reference import Reference

    Find = Callable[[], Iterable[bytes]]

_SKEW = 300.0  # seconds that a signer's clock may be ahead of ours
_ORDER = ("revoked", "expired", "altered", "wrong namespace", "unknown signer")


@dataclass(frozen=True, slots=True)
class Trust:
    """What two files say, and the digest of both.

    Attributes:
        allowed: Who is trusted.
        revoked: Keys that are not.
        identity: Changes when either file does.
    """

    allowed: tuple[AllowedSigner, ...]
    revoked: frozenset[bytes]
    identity: str


def load_trust(settings: Config) -> Trust:
    """Return whom the settings trust; nobody, where there are no files.

    Raises:
        ConfigError: A file cannot be understood.
    """
    paths = settings.allowed_signers, settings.revoked_keys
    return _trust(*(item for path in paths for item in (str(path), _state(path))))


def _state(path: Path) -> tuple[int, ...]:
    try:
        stat = os.stat(path)  # noqa: PTH116 - asked for at every warm read
    except OSError:
        return ()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@lru_cache(maxsize=4)
def _trust(
    allowed: str, allowed_state: tuple[int, ...], revoked: str, revoked_state: tuple[int, ...]
) -> Trust:
    texts = [_read(allowed, allowed_state), _read(revoked, revoked_state)]
    return Trust(
        tuple(parse_allowed(texts[0], where=allowed)),
        parse_revoked(texts[1], where=revoked),
        digest_of(json.dumps(texts).encode()),
    )


def _read(path: str, state: tuple[int, ...]) -> str:
    if not state:
        return ""
    with os_errors(path):
        data = read_whole(path)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        hint = "list the public keys, one a line"
        raise ConfigError("not a text file of keys", where=path, hint=hint) from error


def required(settings: Config, name: str, tag: str | None = None) -> bool:
    """Tell whether the policy asks for signatures of a name, or of a tag of it.

    A pattern with an `@` is for tags: `*@prod`; any other is for a name, however it is reached.
    """
    return any(
        matches(f"{name}@{tag}", pattern) if "@" in pattern else matches(name, pattern)
        for pattern in settings.require
        if tag is not None or "@" not in pattern
    )


class Verifier:
    """Holds names to the policy of one machine.

    Args:
        cache: Where it is remembered what has passed.
        settings: The settings; those of the process when left out.
    """

    def __init__(self, cache: Cache, settings: Config | None = None) -> None:
        self._cache = cache
        self._settings = settings or config.load()

    def check(
        self, name: str | None, reference: Reference, texts: Find, remedy: str = "sign it"
    ) -> None:
        """Make sure that a reference may be what a name means.

        Args:
            name: The name that was asked for, or None for a bare digest.
            reference: What it leads to.
            texts: Returns the signatures that speak of its digest; asked only when needed.
            remedy: What to do where it is not signed, or not by enough.

        Raises:
            SignatureError: The policy does not let it pass.
        """
        if not self._settings.require:
            return
        trust, named = load_trust(self._settings), name or reference.flow
        if required(self._settings, named):
            passed = self._check_version(named, reference, texts, trust, remedy)
        else:
            passed = False  # nobody asks, but what follows need not be read again
        if name is None or not passed:
            self._remember(trust, f"{name or ''} {reference.digest}")

    def _check_version(
        self, name: str, reference: Reference, texts: Find, trust: Trust, remedy: str
    ) -> bool:
        """Make sure that a version is signed; return whether that was known before."""
        statement = Statement.of(reference)
        self._check_name(name, statement.name)
        alias = self._alias(trust, statement.subject)
        if self._cache.find_alias(alias) is not None:
            return True
        # A signed move of a tag says of the name and the bytes all that a signed version does.
        found = [
            each for each in readable_signatures(texts()) if each.statement.content == statement
        ]
        self._count(found, trust, name, hint=remedy)
        self._cache.set_alias(alias, "1")
        return False

    def _remember(self, trust: Trust, subject: str) -> None:
        alias = self._alias(trust, subject)
        if self._cache.find_alias(alias) is None:
            self._cache.set_alias(alias, "1")

    def has_passed(self, name: str | None, digest: str) -> bool:
        """Tell, without a request, whether the bytes of a digest have passed before.

        Args:
            name: The name that was asked for, or None for a bare digest.
            digest: The digest.
        """
        if not self._settings.require:
            return True
        alias = self._alias(load_trust(self._settings), f"{name or ''} {digest}")
        return self._cache.find_alias(alias) is not None

    def check_move(
        self, store: str, name: str, reference: Reference, move: Move, texts: Find
    ) -> None:
        """Make sure that a tag may mean what its newest move says.

        Args:
            store: Where the tag is.
            name: The name.
            reference: What the newest move names.
            move: The newest move, as the store says.
            texts: Returns the signatures that speak of the reference's digest.

        Raises:
            SignatureError: The policy does not let it pass, or the tag went back.
        """
        if not required(self._settings, name, move.tag):
            return
        where = f"{name}@{move.tag}"
        statement = Statement.of(reference, move)
        self._check_name(name, statement.name)
        trust, counters = load_trust(self._settings), Counters(self._settings.home / "tags")
        alias = self._alias(trust, statement.subject)
        if self._cache.find_alias(alias) is None:
            read = readable_signatures(texts())
            found = [each for each in read if each.statement.subject == statement.subject]
            if not found:
                _complain_of_other_move(read, statement, where)
            hint = f"sign it: casflow tag {name}@{reference.digest} {move.tag} --sign"
            self._count(found, trust, where, hint=hint)
            self._cache.set_alias(alias, "1")
        seen, subject = counters.find(store, name, move.tag)
        if (move.counter, statement.subject) == (seen, subject):
            return
        if move.counter <= seen:
            what = f"move {move.counter} of a tag of which move {seen} was seen"
            hint = "somebody took moves away from the store; move the tag again, and sign it"
            raise SignatureError(what, reason="replayed", where=where, hint=hint)
        counters.record(store, name, move.tag, move.counter, statement.subject)

    def newest_move(self, store: str, name: str, tag: str) -> int:
        """Return the number of the newest move of a tag that this machine has seen; 0 for none."""
        return Counters(self._settings.home / "tags").find(store, name, tag)[0]

    @staticmethod
    def _check_name(asked: str, found: str) -> None:
        if asked != found:
            what = f"what is stored is called {found!r}"
            hint = "push it again, and find out who wrote it there"
            raise SignatureError(what, reason="altered", where=asked, hint=hint)

    def _alias(self, trust: Trust, subject: str) -> str:
        return f"signed {self._policy(trust)} {subject}"

    def _policy(self, trust: Trust) -> str:
        """Return what changes when anything does that decides what passes."""
        return json.dumps([trust.identity, self._settings.threshold, self._settings.require])

    def _count(self, found: list[Signed], trust: Trust, where: str, *, hint: str) -> None:
        """Make sure that enough trusted signers made signatures."""
        names: list[tuple[str, bytes]] = []
        refusals: dict[str, SignatureError] = {}
        for signed in found:
            try:
                names.append((signer_of(signed, trust), signed.signature.key.blob))
            except SignatureError as error:
                refusals.setdefault(error.reason, error)
        count, threshold = _distinct(names), self._settings.threshold
        if count >= threshold:
            return
        refused = [refusals[reason] for reason in _ORDER if reason in refusals]
        if not found:
            raise SignatureError("it is not signed", reason="unsigned", where=where, hint=hint)
        if not count:
            worst = refused[0]
            raise SignatureError(worst.what, reason=worst.reason, where=where, hint=_advice(worst))
        what = f"{count} of {threshold} signatures that it needs"
        if refused:
            what += f"; {refused[0].what}"
        raise SignatureError(what, reason="below threshold", where=where, hint=hint)


def signer_of(signed: Signed, trust: Trust) -> str:
    """Return the principals who made a signature.

    Raises:
        SignatureError: It is not right, or nobody's that is trusted.
    """
    signature, moment = signed.signature, signed.statement.moment
    signer = find_signer(signature, moment, trust.allowed, trust.revoked)
    if moment > datetime.now(UTC).timestamp() + _SKEW:
        what = f"the signature of {signer} is dated {signed.statement.at}, in the future"
        raise SignatureError(what, reason="expired")
    if not is_right(signed):
        what = f"the signature of {signer} is not one of what it stands beside"
        raise SignatureError(what, reason="altered")
    return signer


@dataclass(frozen=True, slots=True)
class Signer:
    """Who made one signature.

    Attributes:
        principals: Whom the key stands for; empty where it is not trusted.
        key: Kind and fingerprint of the key.
        at: When, by the signer's clock.
        refusal: Why the signature does not count; empty where it does.
    """

    principals: str
    key: str
    at: str
    refusal: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        return self.principals or f"{self.key} ({self.refusal})"


def signers_of(found: Iterable[Signed], settings: Config | None = None) -> list[Signer]:
    """Return who made signatures, as far as this machine can tell, oldest first."""
    trust, signers = load_trust(settings or config.load()), []
    for signed in sorted(found, key=lambda each: each.statement.at):
        key, at = str(signed.signature.key), signed.statement.at
        try:
            signers.append(Signer(signer_of(signed, trust), key, at))
        except SignatureError as error:
            signers.append(Signer("", key, at, error.reason))
    return signers


def _advice(error: SignatureError) -> str:
    return {
        "unknown signer": "if you trust the key, add it: casflow trust add",
        "wrong namespace": "sign it again for the namespace casflow",
        "expired": "sign it again with a key that is valid",
        "revoked": "sign it again with another key",
        "altered": "sign it again if it is what it should be",
    }[error.reason]


def _complain_of_other_move(read: list[Signed], statement: Statement, where: str) -> None:
    """Raise what is wrong where a move is signed, but as another one than the store says."""
    move = statement.move
    for each in read:
        other = each.statement.move
        if move is None or other is None or other.tag != move.tag:
            continue
        if each.statement.content == statement.content:
            what = f"move {move.counter} carries the signature of move {other.counter}"
            hint = "somebody put an old move in the place of a new one; move the tag again"
            raise SignatureError(what, reason="replayed", where=where, hint=hint)


def _distinct(names: list[tuple[str, bytes]]) -> int:
    """Return how many signers there are; two that share a key or a name are one."""
    groups: list[set[object]] = []
    for pair in names:
        same = [group for group in groups if not group.isdisjoint(pair)]
        merged: set[object] = set(pair).union(*same)
        groups = [group for group in groups if group not in same] + [merged]
    return len(groups)
