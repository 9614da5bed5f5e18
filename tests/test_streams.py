"""What is printed: nothing acts on a terminal, no secret in any form gets through."""

from __future__ import annotations

import base64
import io
import json
import shlex
import sys
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casflow import redaction
from casflow.errors import CasflowError, bounded
from casflow.redaction import KnownSecrets
from casflow.streams import SafeStream, safe, visible, write_content

ACTING = ["\x1b[2J", "\x9b31m", "\x07", "\x7f", "\r", "\x00", "\u202e", "\u2066", "\u2028"]
FORMS = {
    "raw": lambda value: value,
    "repr": repr,
    "repr of bytes": lambda value: repr(value.encode()),
    "JSON": json.dumps,
    "JSON in Unicode": lambda value: json.dumps(value, ensure_ascii=False),
    "JSON in JSON": lambda value: json.dumps(json.dumps({"x": value})),
    "URL": lambda value: quote(value, safe=""),
    "path": quote,
    "form": quote_plus,
    "shell": shlex.quote,
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "basic": lambda value: base64.b64encode(b"user:" + value.encode()).decode(),
    "token": lambda value: base64.b64encode(b"x:" + value.encode() + b"!").decode(),
    "base64 in URLs": lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    "one line": lambda value: " ".join(value.split()),
}
VALUES = [
    "s3cr3t/word+x",
    "quo\"te's\\b",
    "zwölf~grüße",
    "line one of it\nline two of it",
    "a b&c=d;e",
]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> KnownSecrets:
    """No secrets that are left from other tests."""
    known = KnownSecrets()
    monkeypatch.setattr(redaction, "_known", known)
    return known


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", VALUES)
def test_every_form_of_a_secret_is_removed(form: str, value: str) -> None:
    redaction.remember(value)
    written = f"before {FORMS[form](value)} after"
    text = safe(written)
    assert value not in text
    assert "***" in text
    assert len(text) < len("before  after") + 20  # the form is gone, not only a piece of it


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=6, max_size=30))
def test_any_secret_is_removed_from_what_quotes_it(value: str) -> None:
    known = KnownSecrets()
    known.add(value)
    for write in FORMS.values():
        assert value not in known.remove_from(write(value))


@pytest.mark.parametrize("acting", ACTING)
def test_what_acts_on_a_terminal_is_escaped(acting: str) -> None:
    stream = io.StringIO()
    SafeStream(stream).write(f"a{acting}b\n")
    assert acting not in stream.getvalue()
    assert stream.getvalue() == f"a{visible(acting)}b\n"
    assert json.loads(f'"{visible(acting)}"') == acting


def test_text_of_any_language_stays_as_it_is() -> None:
    text = "naïve — 日本語 \u0928\u094d\u200d 👩\u200d🔬\tend\n"
    assert safe(text) == text


def test_a_stream_that_lacks_a_character_writes_it_with_a_backslash() -> None:
    below = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stream = SafeStream(below)
    stream.write("grüße")
    below.flush()
    assert below.buffer.getvalue() == b"gr\\xfc\\xdfe"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "{'X-Amz-Security-Token': b'sentinel'}",
        "Authorization: Bearer sentinel",
        '"authorization": "Basic sentinel"',
        "Cookie: session=sentinel; more=sentinel",
        "AWS4-HMAC-SHA256 Credential=AKIAABCDEFGHIJKLMNOP/20260101/x",
        "postgresql://h/d?sslpassword=sentinel&x=1",
    ],
)
def test_what_shows_to_be_a_credential_is_removed(text: str) -> None:
    assert "sentinel" not in safe(text)
    assert "AKIAABCDEFGHIJKLMNOP" not in safe(text)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:sent1nel@h/d",
        "postgresql://u:sent1nel/w@rd@h/d",
        "postgresql://u:sent1nel?x#y@h/d",
        "postgresql://h/d?password=sent1nel&sslmode=require",
        "postgresql://u:sent1nel%2Fx@h/d",
    ],
)
def test_passwords_in_odd_places_of_a_url_are_known(url: str) -> None:
    redaction.remember_url(url)
    assert "sent1nel" not in safe(url)
    assert "sent1nel" not in safe("the password is sent1nel/w@rd" if "w@rd" in url else "x")


def test_what_is_public_in_credentials_may_stand_in_a_flow() -> None:
    redaction.remember(
        '{"type": "service_account", "token_uri": "https://h/token", "private_key": "s3cr3t-k3y"}'
    )
    assert "service_account" not in safe("it is of type service_account")
    assert redaction.find_leak(b"x = 'service_account'") is None
    assert redaction.find_leak(b"x = 's3cr3t-k3y'") == "s3cr3t-k3y"


def test_an_error_shows_no_secret() -> None:
    redaction.remember("sentinel value")
    error = CasflowError("refused sentinel value", where="https://h/sentinel%20value", hint="no")
    assert "sentinel" not in str(error)


def test_a_long_text_keeps_its_head_and_tail() -> None:
    text = "head" + "x" * 5_000_000 + "tail"
    assert bounded(text).startswith("head")
    assert bounded(text).endswith("tail")
    assert len(bounded(text)) < 2_100
    assert "4998108 characters left out" in bounded(text)
    assert bounded("short") == "short"


def test_bytes_of_a_text_are_made_safe_too() -> None:
    redaction.remember("s3cr3t-word")
    below = io.StringIO()
    assert SafeStream(below).write(b"a s3cr3t-word\x1b[2J\xff") == 18
    assert below.getvalue() == "a ***\\u001b[2J\\xff"


def test_the_bytes_of_a_file_are_written_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(256))
    below = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", SafeStream(below))
    sys.stdout.write("first\n")
    write_content(io.BytesIO(data))
    assert below.buffer.getvalue() == b"first\n" + data  # type: ignore[attr-defined]


def test_a_terminal_obeys_no_byte_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    below = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(below, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdout", SafeStream(below))
    write_content(io.BytesIO(b"\x1b[2J"))
    below.flush()
    assert below.buffer.getvalue() == b"\\u001b[2J"  # type: ignore[attr-defined]
