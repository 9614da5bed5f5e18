"""Digests of bytes that are written in any order."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casflow.digests import Verifying, digest_of
from casflow.errors import IntegrityError


@st.composite
def writings(draw):
    """Return bytes, and their pieces with their places in the order in which they are written."""
    data = draw(st.binary(max_size=200))
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=8)) | {0, len(data)})
    pieces = [(start, data[start:end]) for start, end in pairwise(cuts)]
    return data, draw(st.permutations(pieces))


@given(writings())
def test_the_order_of_the_pieces_does_not_matter(writing):
    data, pieces = writing
    file = io.BytesIO()
    target = Verifying(file)
    for start, piece in pieces:
        target.seek(start)
        target.write(piece)
    assert file.getvalue() == data
    assert target.size == len(data)
    assert target.digest() == digest_of(data)
    target.check(digest_of(data), where="here")


@given(writings(), st.data())
def test_a_wrong_byte_shows_wherever_it_is(writing, chosen):
    data, pieces = writing
    target = Verifying(io.BytesIO())
    wrong = chosen.draw(st.integers(0, max(len(data) - 1, 0)))
    for start, piece in pieces:
        target.seek(start)
        target.write(bytes(byte ^ (start + at == wrong) for at, byte in enumerate(piece)))
    if data:
        with pytest.raises(IntegrityError):
            target.check(digest_of(data), where="here")
