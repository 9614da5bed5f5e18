"""Slugs, stamps and the JSON form of references."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casflow.blobs import layout
from casflow.errors import ConfigError, IntegrityError
from casflow.reference import PICKLE, BlobName, Reference, check_name, slug, stamp

DIGEST = "blake3:" + "0123456789abcdef" * 4

NOW = "2026-11-22T23:38:15.315496+00:00"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("my_flow", "my-flow"),
        ("My Flow", "my-flow"),
        ("a/b", "a-b"),
        ("C++ & Python", "c-python"),
        ("Ünïcode Flöw", "unicode-flow"),
        ("emoji-flow-❌", "emoji-flow"),
        ("../../etc/passwd", "etc-passwd"),
    ],
)
def test_a_slug_is_what_users_of_the_original_know(name, expected):
    assert slug(name) == expected


def test_a_name_without_letters_gets_a_slug_of_its_digest():
    assert slug("❌").startswith("flow-")
    assert slug("❌") != slug("✅")


def test_a_stamp_always_has_its_microseconds():
    assert stamp(datetime(2021, 2, 2, 10, 11, 12, tzinfo=UTC)) == "2021-02-02t10-11-12-000000-00-00"


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)),
    st.timedeltas(timedelta(microseconds=1), timedelta(days=900)),
)
def test_stamps_sort_by_time(moment, later):
    early = moment.replace(tzinfo=UTC)
    assert stamp(early) < stamp(early + later)


@given(st.text(min_size=1, max_size=300))
def test_every_name_has_a_key_that_is_safe(name):
    key = layout.reference(name, datetime.now(UTC))
    assert layout.is_reference(key)
    assert len(key.encode()) < 255


@pytest.mark.parametrize(
    "name", ["", None, 7, "x" * 1001, "a\nb", "a\x00b", "\x9b2J", "a\u202eb", "\udc80"]
)
def test_what_cannot_be_a_name_is_refused(name):
    with pytest.raises(ConfigError):
        check_name(name)


@given(
    flow=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=50),
    labels=st.lists(st.text(max_size=9).filter(lambda text: text.isprintable())),
    size=st.integers(0, 2**60),
)
def test_the_json_form_round_trips(flow, labels, size):
    blob = BlobName(DIGEST, 3, size)
    reference = Reference(flow, blob, PICKLE, NOW, tuple(labels), {"source_map": blob}, {"a": 1})
    assert Reference.from_bytes(reference.to_bytes(), where="here") == reference


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b'{"format": 1}',
        b'{"format": 1, "flow": "x", "digest": "md5:1", "incarnation": 0, "size": 1}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_reference_is_refused(data):
    with pytest.raises(IntegrityError, match="here"):
        Reference.from_bytes(data, where="here")
