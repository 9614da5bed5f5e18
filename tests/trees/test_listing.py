"""Listings and indexes: what is accepted, what is refused, and what identity depends on."""

import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casflow.digests import digest_of
from casflow.errors import ConfigError, IntegrityError, NotFoundError
from casflow.trees.index import EMPTY, Index, Place
from casflow.trees.listing import SYMLINK, Entry, Listing, Root
from tests.examples import examples

CONTENT = digest_of(b"content")


def a_file(path, data=b"content", *, executable=False):
    return Entry(path, executable=executable, size=len(data), digest=digest_of(data))


def a_link(path, target):
    return Entry(path, SYMLINK, target=target)


def an_index(*entries):
    listing, places, offset = Listing(entries), {}, 0
    for entry in listing:
        if entry.size and entry.digest not in places:
            places[entry.digest] = Place(CONTENT, offset, entry.size)
            offset += entry.size
    return Index(listing, {CONTENT: offset} if offset else {}, places)


def reread(index):
    root = Root.from_bytes(index.listing.root, where="here")
    return Index.from_bytes(index.to_bytes(), root, where="here")


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=6
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
FILES = st.builds(a_file, PATHS, st.binary(max_size=4), executable=st.booleans())


@given(st.lists(st.one_of(FILES, st.builds(a_link, PATHS, PATHS)), max_size=8))
@settings(max_examples=examples(150, few=40), deadline=None)
def test_what_can_be_listed_comes_back_from_its_index_in_any_order(entries):
    try:
        listing = Listing(entries)
    except ConfigError:
        return
    index = an_index(*reversed(entries))
    assert reread(index) == index
    assert index.listing.digest == listing.digest
    paths = [entry.path.encode() for entry in listing]
    assert paths == sorted(paths)


def test_a_line_is_canonical_json_with_sorted_keys():
    for entry in (a_file('ü"\\x.py', executable=True), a_link("a", "b")):
        form = json.dumps(
            entry.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        assert entry.to_line() == f"{form}\n"


def test_another_packing_is_the_same_tree():
    entries = [a_file("a", b"one"), a_file("b", b"two")]
    index = an_index(*entries)
    other = digest_of(b"other pack")
    moved = Index(
        index.listing,
        {other: 9},
        {e.digest: Place(other, 6 - 3 * n, 3) for n, e in enumerate(entries)},
    )
    assert moved.to_bytes() != index.to_bytes()
    assert reread(moved).listing.digest == index.listing.digest
    assert reread(moved) == moved


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../a", "a/../../b", "a//b", "./a", "a/.", "a\\b", "a\nb", "a\x00", "nul",
     "CON.txt", "com1", "a:b", "a.", "a ", "x" * 256, "d/" * 2100 + "x", "\udc80"],
)  # fmt: skip
def test_a_path_that_some_system_cannot_hold_is_refused(path):
    with pytest.raises(ConfigError):
        Listing([a_file(path)])


@pytest.mark.parametrize(
    ("first", "second"),
    [("a", "a"), ("a", "A"), ("a/x", "A/y"), ("a", "a/b"), ("a/b", "a"), ("\u00e9", "e\u0301"),
     ("stra\u00dfe", "STRASSE"), ("a-b", "a-b"), ("a/b/c", "a/B")],
)  # fmt: skip
def test_two_paths_that_cannot_stand_together_are_refused_with_both_names(first, second):
    with pytest.raises(ConfigError) as caught:
        Listing([a_file(first), a_file(second)])
    assert first in str(caught.value) or second in str(caught.value)


@pytest.mark.parametrize(
    "target",
    ["/etc/passwd", "..", "../x", "a/../../x", "d/d/../..", "./../x", "", "x\\y", "a\nb", "\udc80"],
)
def test_a_link_out_of_the_tree_is_refused(target):
    with pytest.raises(ConfigError):
        Listing([a_link("link", target)])


@pytest.mark.parametrize("target", ["x", "./x", "sub/x", "../x", "../sub2/x", "x/"])
def test_a_link_inside_is_kept(target):
    assert Listing([a_link("sub/link", target)]).get("sub/link").target == target


def test_nothing_lies_below_a_link():
    with pytest.raises(ConfigError):
        Listing([a_link("d", "e"), a_file("d/x")])


def damaged(index, **changes):
    data = index.to_bytes()
    inflater = zlib.decompressobj()
    columns = json.loads(inflater.decompress(data))
    columns.update(changes)
    return zlib.compress(json.dumps(columns).encode()) + inflater.unused_data


HOSTILE = {
    "a path that leads out": {"paths": ["../a", "b", "l"]},
    "an absolute path": {"paths": ["/a", "b", "l"]},
    "a path twice": {"paths": ["a", "a", "l"]},
    "a file below a link": {"paths": ["l/a", "b", "l"]},
    "a path too many": {"paths": ["a", "b", "c", "l"]},
    "a size that lies": {"sizes": [4, 3]},
    "a negative size": {"sizes": [-3, 3]},
    "a size of another type": {"sizes": ["3", 3]},
    "a size that is true": {"sizes": [True, 3]},
    "a huge size": {"sizes": [2**70, 3]},
    "a link out": {"targets": ["../x"]},
    "an absolute link": {"targets": ["/etc"]},
    "no target": {"targets": []},
    "another kind": {"kinds": "fql"},
    "a range outside its pack": {"gaps": [[4, 2]]},
    "a range before its pack": {"gaps": [[-1, 2]]},
    "missing ranges": {"gaps": [[0, 1]]},
    "too many ranges": {"gaps": [[0, 3]]},
    "a run without an end": {"gaps": [[0, 10**12]]},
    "a pack that is not there": {"pack": [[1, 2]]},
    "a pack of a negative number": {"pack": [[-1, 2]]},
    "a pack of negative size": {"packs": [[CONTENT[7:], -6]]},
    "a pack without a digest": {"packs": [["zz", 6]]},
    "a pack of a short digest": {"packs": [["00", 6]]},
    "repeats outside": {"repeats": [[0, 9]]},
    "no columns": {"paths": None},
    "another format": {"format": 2},
    "deep nesting": {"sizes": json.loads("[" * 500 + "]" * 500)},
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_index_is_an_integrity_error(changes):
    index = an_index(a_file("a", b"one"), a_file("b", b"two"), a_link("l", "a"))
    root = Root.from_bytes(index.listing.root, where="here")
    assert Index.from_bytes(damaged(index), root, where="here") == index
    with pytest.raises(IntegrityError):
        Index.from_bytes(damaged(index, **changes), root, where="here")


@given(st.data())
@settings(max_examples=examples(200, few=40), deadline=None)
def test_an_index_with_any_bytes_changed_is_refused_or_the_same_listing(data):
    index = an_index(a_file("a", b"one"), a_file("b", b"two"), a_link("l", "a"))
    root = Root.from_bytes(index.listing.root, where="here")
    stored = bytearray(index.to_bytes())
    at = data.draw(st.integers(0, len(stored) - 1))
    stored[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.sampled_from([len(stored), at]))
    try:
        found = Index.from_bytes(bytes(stored[:cut]), root, where="here")
    except IntegrityError:
        return
    assert found.listing == index.listing


def test_columns_that_unpack_to_more_than_the_root_says_are_not_unpacked():
    index = an_index(a_file("a"))
    root = Root.from_bytes(index.listing.root, where="here")
    bomb = zlib.compress(b" " * (200 << 20))
    with pytest.raises(IntegrityError):
        Index.from_bytes(bomb, root, where="here")


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"{" * 3000, b"x" * 5000,
     b'{"format":1,"bytes":-1,"entries":0,"listing":"blake3:00","listing_size":0}',
     b'{"format":2,"bytes":0,"entries":0,"listing":"' + EMPTY.encode() + b'","listing_size":0}'],
)  # fmt: skip
def test_what_is_no_root_document_is_refused(data):
    with pytest.raises(IntegrityError):
        Root.from_bytes(data, where="here")


def test_an_empty_tree_has_a_digest():
    assert reread(an_index()).listing.digest == Listing([]).digest
    assert Listing([a_file("a", b"")]).get("a").digest == EMPTY


def linked(path, target):
    return Entry(path, SYMLINK, target=target)


TREE = Listing([
    Entry("d/e/f", size=1, digest=digest_of(b"1")), linked("to-file", "d/e/f"),
    linked("to-folder", "d/e"), linked("d/up", "../to-folder"), linked("chain", "d/up"),
    linked("self", "self"), linked("a", "b"), linked("b", "a"), linked("dangling", "nowhere"),
    linked("top", "."),
])  # fmt: skip


@pytest.mark.parametrize(
    "path",
    ["d/e/f", "to-file", "to-folder/f", "d/up/f", "chain/f", "top/chain/f", "top/top/to-file"],
)
def test_a_path_leads_through_links(path):
    assert TREE.follow(path).path == "d/e/f"


@pytest.mark.parametrize(
    "path",
    ["d", "d/e", "to-folder", "self", "self/f", "a", "b/f", "dangling", "d/e/f/g", "x", "top"],
)
def test_a_path_that_leads_to_no_file_is_not_found(path):
    with pytest.raises(NotFoundError):
        TREE.follow(path)
