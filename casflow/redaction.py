"""The values that must not be shown, and texts without them.

Owns the memory of every secret that this process has seen, in each form in which a text may hold
it: as it is, as `repr`, JSON, a URL, a shell and base64 write it. Invariant: `redact` removes each
of these forms from a text, and what any text shows to be a credential. Errors, log lines, what is
printed and what is stored of a run go through it.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

HIDDEN = "***"
_MIN_LENGTH = 6  # characters; shorter values stand inside ordinary words, such as "open" or "root"
_MIN_LINE = 16  # characters of one line of a longer value, such as a key in PEM
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_PASSWORDS = "password|passwd|passphrase|sslpassword"
_CREDENTIAL = re.compile(
    r"(?i)\b((?:AccountKey|SharedAccessKey|SharedAccessSignature|sig|X-Amz-Signature"
    r"|X-Amz-Security-Token|X-Amz-Credential|X-Goog-Signature|X-Goog-Credential"
    rf"|access_token|refresh_token|client_secret|{_PASSWORDS})=)[^;&\s'\"]+"
    r"|(://)[^/\s@]+(?=@)"
    r"|((?:authorization|x-amz-security-token|x-api-key|private-token|job-token|identitytoken"
    r"|(?:set-)?cookie)['\"]?\s*[:=]\s*b?['\"]?)[^'\"\r\n,}\]]+"
    r"|\b()(?:AKIA|ASIA)[A-Z0-9]{16}\b"
)
_CREDENTIAL_NAME = re.compile(r"(?i)key|secret|token|passw|private|signature|credential|^sas$")
_USERINFO = re.compile(r"\s*[\w+.-]+://(.*)@")
_OPTION = re.compile(rf"(?i)[?&](?:{_PASSWORDS})=([^&]*)")


class KnownSecrets:
    """The values that were seen, and one pattern for all of their forms."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._public: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str, *, public: bool = False) -> None:
        """Take note of a value.

        Args:
            value: The value.
            public: Whether it is hidden only for what it stands beside, such as the region in a
                set of credentials; `find_in` does not look for it.
        """
        if public and value not in self._values:
            self._public.add(value)
        elif not public:
            self._public.discard(value)
        if len(value) >= _MIN_LENGTH and value not in self._values:
            self._values.add(value)
            self._pattern = None

    def remove_from(self, text: str) -> str:
        """Return a text without any form of any value."""
        if not self._values:
            return text
        if self._pattern is None:
            forms = {form for value in tuple(self._values) for form in forms_of(value)}
            longest_first = sorted(forms, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        return self._pattern.sub(HIDDEN, text)

    def find_in(self, data: bytes) -> str | None:
        """Return a value that some bytes hold, or None."""
        for value in sorted(self._values - self._public, key=len, reverse=True):
            stripped = value.strip()
            if len(stripped) >= _MIN_LENGTH and stripped.encode(errors="replace") in data:
                return stripped
        return None


_known = KnownSecrets()


def remember(value: Any, *, public: bool = False) -> None:
    """Take note of a secret value, with all text inside it.

    Args:
        value: The value; of an object, members whose name tells of no credential are public.
        public: Whether it is hidden, but may stand in what is stored.
    """
    if isinstance(value, dict):
        for name, each in value.items():
            remember(each, public=not _CREDENTIAL_NAME.search(str(name)))
    if isinstance(value, bytes | bytearray):
        value = value.decode(errors="replace")
    if isinstance(value, list | tuple | set | frozenset):
        for each in value:
            remember(each, public=public)
    elif isinstance(value, str):
        _known.add(value, public=public)
        if isinstance(inner := decoded(value), dict | list):
            remember(inner)


def remember_url(url: str) -> None:
    """Take note of the passwords in a URL, also where they are written as they should not be."""
    found = [match[1] for match in _OPTION.finditer(url)]
    if match := _USERINFO.match(url):
        found.append(match[1].partition(":")[2])
    for each in found:
        remember([each, unquote(each)])


def redact(text: str) -> str:
    """Return a text without the secrets seen so far, nor credentials that show as such."""
    return _CREDENTIAL.sub(_hide, _known.remove_from(text))


def redact_value(value: Any) -> Any:
    """Return a JSON value whose texts, keys too, went through `redact`."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact_value(key): redact_value(each) for key, each in value.items()}
    return [redact_value(each) for each in value] if isinstance(value, list | tuple) else value


def find_leak(data: bytes) -> str | None:
    """Return a known secret of six or more characters that some bytes hold, or None."""
    return _known.find_in(data)


def decoded(value: Any) -> Any:
    """Return what a value stands for: text that is JSON is read, all else is left as it is."""
    if not isinstance(value, str | bytes):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def forms_of(value: str) -> set[str]:
    """Return how a value may stand in a text."""
    stripped = value.strip()
    spellings = {value, stripped, " ".join(value.split())}
    spellings.update(line for line in value.splitlines() if len(line) >= _MIN_LINE)
    forms = {form for spelling in spellings for form in _written(spelling)}
    return {form for form in forms if len(form) >= _MIN_LENGTH}


def _written(value: str) -> Iterator[str]:
    data = value.encode(errors="surrogatepass")
    yield value
    yield from (repr(value)[1:-1], repr(data)[2:-1], shlex.quote(value)[1:-1])
    yield from (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    # A JSON text inside of another one.
    yield json.dumps(json.dumps(value))[3:-3]
    for form in (quote(data, safe=""), quote(data), quote_plus(data)):
        yield form
        yield _ESCAPE.sub(lambda match: match[0].lower(), form)
    if len(data) >= _MIN_LENGTH:
        yield from _in_base64(data)


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield the characters that base64 makes of some bytes wherever these begin."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode()
        start, end = (0, 2, 3)[before], (before + len(data)) * 8 // 6
        plain = encoded[start:end]
        if len(plain) >= _MIN_LENGTH:
            yield from (plain, plain.replace("+", "-").replace("/", "_"), quote(plain, safe=""))


def _hide(match: re.Match[str]) -> str:
    return next((group for group in match.groups() if group), "") + HIDDEN
