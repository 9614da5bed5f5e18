"""Whom this machine trusts: a file of allowed signers, and one of revoked keys (ssh-keygen(1)).

Owns reading both, and who a signature is from. Invariant: a line that cannot be understood is an
error, never passed over; trust comes from these two files alone, never from a store.

    anna@example.com namespaces="casflow" ssh-ed25519 AAAA…
    *@example.com cert-authority,valid-before="20270101Z" ssh-ed25519 AAAA…
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from casflow.errors import CasflowError, ConfigError, SignatureError
from casflow.signing.keys import PublicKey, parse_line
from casflow.signing.sshsig import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from casflow.signing.keys import Certificate
    from casflow.signing.sshsig import Signature

_LARGEST = 4 * 2**20  # bytes of a file
_OPTION = re.compile(r'(?P<name>[A-Za-z-]+)(?:="(?P<value>[^"]*)")?(?P<more>,|\s+)')
_PRINCIPALS = re.compile(r'(?:"(?P<quoted>[^"]+)"|(?P<bare>[^\s"]+))\s+')
_TIMES = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_OPTIONS = ("cert-authority", "namespaces", "valid-after", "valid-before")


@dataclass(frozen=True, slots=True)
class AllowedSigner:
    """One line of the file.

    Attributes:
        principals: Patterns of who signs with the key, as written.
        key: The key, or that of an authority.
        is_authority: Whether it signs certificates, not what is stored.
        namespaces: Patterns of what the key may sign; empty for anything.
        after: Seconds since the epoch from which it may.
        before: Seconds since the epoch up to which it may, or None.
    """

    principals: str
    key: PublicKey
    is_authority: bool = False
    namespaces: str = ""
    after: float = 0.0
    before: float | None = None


def parse_allowed(text: str, *, where: object) -> list[AllowedSigner]:
    """Return the lines of a file of allowed signers.

    Raises:
        ConfigError: A line cannot be understood.
    """
    found = []
    for number, line in _lines(text):
        try:
            found.append(_allowed(line))
        except (CasflowError, ValueError) as error:
            what = error.what if isinstance(error, CasflowError) else str(error)
            raise ConfigError(
                f"cannot read this line ({what})", where=f"{where}:{number}"
            ) from error
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    if len(text) > _LARGEST:
        raise ConfigError(f"a file of keys of {len(text)} characters")
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def _allowed(line: str) -> AllowedSigner:
    match = _PRINCIPALS.match(line)
    if match is None:
        raise ValueError("no principals and key")
    principals, rest = match["quoted"] or match["bare"], line[match.end() :]
    options: dict[str, str] = {}
    if not rest.startswith(("ssh-", "ecdsa-", "sk-")):
        options, rest = _options(rest)
    key = parse_line(rest)
    if key.certificate is not None:
        raise ValueError("a certificate; write the key of its authority")
    return AllowedSigner(
        principals,
        key,
        "cert-authority" in options,
        options.get("namespaces", ""),
        _moment(options.get("valid-after", "")) or 0.0,
        _moment(options.get("valid-before", "")),
    )


def _options(text: str) -> tuple[dict[str, str], str]:
    options: dict[str, str] = {}
    position = 0
    while match := _OPTION.match(text, position):
        name = match["name"].lower()
        if name not in _OPTIONS or name in options:
            raise ValueError(f"option {name[:40]!r} is not known, or given twice")
        if (name == "cert-authority") != (match["value"] is None):
            raise ValueError(f"option {name} is not written as it must be")
        options[name] = match["value"] or ""
        position = match.end()
        if match["more"] != ",":
            return options, text[position:]
    raise ValueError("no key after its options")


def _moment(text: str) -> float | None:
    """Return the seconds since the epoch of a time such as `20270101Z`; local without the Z."""
    if not text:
        return None
    digits = text.removesuffix("Z")
    if len(digits) not in _TIMES or not digits.isdecimal() or not digits.isascii():
        raise ValueError(f"not a time: {text[:40]!r}")
    moment = datetime.strptime(digits, _TIMES[len(digits)])  # noqa: DTZ007 - local without a Z
    return (moment.replace(tzinfo=UTC) if text.endswith("Z") else moment).timestamp()


def parse_revoked(text: str, *, where: object) -> frozenset[bytes]:
    """Return the revoked keys of a file: one public key a line.

    Raises:
        ConfigError: A line cannot be understood, or the file is a KRL.
    """
    if text.startswith("SSHKRL"):
        raise ConfigError("a binary KRL", where=where, hint="list the public keys, one a line")
    found = set()
    for number, line in _lines(text):
        try:
            found.add(parse_line(line).blob)
        except CasflowError as error:
            raise ConfigError(
                f"cannot read this line ({error.what})", where=f"{where}:{number}"
            ) from error
    return frozenset(found)


# ---- who signed ----------------------------------------------------------------------------


def find_signer(
    signature: Signature,
    moment: float,
    allowed: Iterable[AllowedSigner],
    revoked: frozenset[bytes],
) -> str:
    """Return the principals that a signature's key stands for.

    Args:
        signature: A signature that is right for its key.
        moment: When it was made, in seconds since the epoch.
        allowed: Who is trusted.
        revoked: Keys that are not, or not any more.

    Raises:
        SignatureError: Nobody that is trusted signed; says why.
    """
    key = signature.key
    if signature.namespace != NAMESPACE:
        what = f"it is signed for the namespace {signature.namespace[:60]!r}"
        raise SignatureError(what, reason="wrong namespace")
    certificate = key.certificate
    keys = [key.blob] if certificate is None else [key.blob, certificate.authority]
    if not revoked.isdisjoint(keys):
        raise SignatureError(f"the key {key} that signed it is revoked", reason="revoked")
    refusal: SignatureError | None = None
    for line in allowed:
        wanted = key.blob if certificate is None else certificate.authority
        if line.is_authority != (certificate is not None) or line.key.blob != wanted:
            continue
        try:
            return _principals_of(line, signature, moment)
        except SignatureError as error:
            refusal = error
    if refusal is not None:
        raise refusal
    raise SignatureError(f"it is signed by an unknown key, {key}", reason="unknown signer")


def _principals_of(line: AllowedSigner, signature: Signature, moment: float) -> str:
    key, certificate = signature.key, signature.key.certificate
    if line.namespaces and not matches(NAMESPACE, line.namespaces):
        what = f"the key {key} of {line.principals} may sign {line.namespaces} only"
        raise SignatureError(what, reason="wrong namespace")
    if moment < line.after or (line.before is not None and moment > line.before):
        when = "yet" if moment < line.after else "any more"
        what = f"the key {key} of {line.principals} was not valid {when} when it signed"
        raise SignatureError(what, reason="expired")
    if certificate is None:
        return line.principals
    return _certified(line, key, certificate, moment)


def _certified(line: AllowedSigner, key: PublicKey, certificate: Certificate, moment: float) -> str:
    if not certificate.after <= moment < certificate.before:
        what = f"the certificate of the key {key} was not valid when it signed"
        raise SignatureError(what, reason="expired")
    found = [each for each in certificate.principals if matches(each, line.principals)]
    if not found or not certificate.is_for_users or certificate.critical:
        what = f"the certificate of the key {key} is for nobody that {line.principals} names"
        raise SignatureError(what, reason="unknown signer")
    return ",".join(found)


def matches(text: str, patterns: str) -> bool:
    """Tell whether a text is one of a list of patterns; one after a `!` takes it out again."""
    found = False
    for pattern in patterns.split(","):
        if fnmatchcase(text, pattern.removeprefix("!").replace("[", "[[]")):
            if pattern.startswith("!"):
                return False
            found = True
    return found
