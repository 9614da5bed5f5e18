"""Refs: one grammar for every command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casflow.errors import ConfigError
from casflow.refs import Ref, check_tag, parse_ref, parse_ref_and_path

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("etl", {"name": "etl"}),
        ("My flow: the 2nd", {"name": "My flow: the 2nd"}),
        ("etl@3", {"name": "etl", "version": 3}),
        ("etl@prod", {"name": "etl", "tag": "prod"}),
        ("a@b@prod", {"name": "a@b", "tag": "prod"}),
        (f"etl@blake3:{HEX}", {"name": "etl", "digest": HEX}),
        (f"etl@blake3-{HEX}", {"name": "etl", "digest": HEX}),
        ("etl@0123abcd", {"name": "etl", "digest": "0123abcd"}),
        ("etl@0123ABCD", {"name": "etl", "digest": "0123abcd"}),
        ("etl@12345678", {"name": "etl", "digest": "12345678"}),
        ("0123abcd", {"name": "0123abcd", "digest": "0123abcd"}),
        (f"blake3:{HEX}", {"digest": HEX}),
        ("blake3-0123abcd", {"digest": "0123abcd"}),
        ("etl@abc", {"name": "etl", "tag": "abc"}),
    ],
)
def test_a_ref_means_what_it_says(text, fields):
    assert parse_ref(text) == Ref(text, **fields)


@pytest.mark.parametrize(
    "text", ["", "@3", "etl@", "etl@0", "etl@-1", "etl@a b", "etl@blake3:12", "etl@/x", "\udcff"]
)
def test_what_is_no_ref_is_refused(text):
    with pytest.raises(ConfigError):
        parse_ref(text)


@given(st.text())
def test_any_text_is_a_ref_or_a_clear_error(text):
    try:
        ref = parse_ref(text)
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert sum(each is not None for each in (ref.version, ref.tag, ref.digest)) <= 1


@pytest.mark.parametrize(
    "tag", ["", "3", "0123abcd", "blake3-0123abcd", "a/b", ".x", "a b", "x" * 101]
)
def test_what_reads_as_something_else_is_no_tag(tag):
    with pytest.raises(ConfigError):
        check_tag(tag)


@pytest.mark.parametrize(
    ("text", "ref", "path"),
    [("a@prod:x/y.py", "a@prod", "x/y.py"), (f"a@blake3:{HEX}:x", f"a@blake3:{HEX}", "x"),
     ("a", "a", ""), (f"blake3:{HEX}", f"blake3:{HEX}", "")],
)  # fmt: skip
def test_a_path_follows_the_ref_after_a_colon(text, ref, path):
    assert parse_ref_and_path(text) == (parse_ref(ref), path)
