"""Bundles hold what they say, or are refused before anything is written."""

from __future__ import annotations

import json

import pytest

from casflow.errors import IntegrityError
from casflow.flow import bundle


def made(files, rest=b"xy"):
    header = {"script": "a.py", "files": files}
    return json.dumps(header).encode() + b"\n" + rest


def test_what_was_packed_is_unpacked():
    files = {"a.py": b"x", "b/c.txt": b"y", "ä b": b""}
    assert bundle.unpack(bundle.pack("a.py", files), where="here") == ("a.py", files)


@pytest.mark.parametrize(
    "files",
    [
        [["a.py", 2], ["b", 10**6], ["c", -(10**6)]],  # each a copy of the rest, over and over
        [["a.py", 3], ["b", -1]],
        [["a.py", 2.0]],
        [["a.py", True], ["b", 1]],
        [["a.py", 1]],
        [["a.py", 1], ["a.py/b", 1]],
        [["a.py", 1], ["./b", 1]],
        [["a.py", 1], ["b//c", 1]],
        [["a.py", 1], ["b\0", 1]],
        [["a.py", 1], ["../b", 1]],
        [["a.py", 1], ["/b", 1]],
        [["a.py", 1], ["", 1]],
        [["a.py", 1], [7, 1]],
        [["a.py", 1], ["x" * 5000, 1]],
        [["b", 2]],
    ],
)
def test_a_bundle_that_does_not_fit_is_damaged(files):
    with pytest.raises(IntegrityError, match="damaged bundle"):
        bundle.unpack(made(files), where="here")
