"""Objects that are longer than any of their kind: no command reads all of one."""

from __future__ import annotations

import os

import pytest

from casflow.blobs import layout
from casflow.blobs.content import ContentStore, Draft
from casflow.blobs.local import LocalBlobStore
from casflow.errors import IntegrityError
from casflow.reference import PICKLE
from casflow.storage import Local

LONG = 64 << 20  # bytes, of which the disk holds none
PLACES = {
    "format": layout.FORMAT,
    "reference": "{reference}",
    "another reference": "plain/2027-01-01t00-00-00-000000-00-00",
    "trash": f"{layout.TRASH}plain/2027-01-01t00-00-00-000000-00-00",
    "pin": f"{layout.PINS}x",
    "report": f"{layout.RUNS}2027.json",
}
COMMANDS = ("verify", "gc --yes", "stats", "undelete", "pin Plain", "register -p")


@pytest.mark.skipif(os.name != "posix", reason="files with holes")
@pytest.mark.parametrize("place", PLACES)
def test_a_long_object_is_read_no_further_than_it_may_be_long(home, capsys, monkeypatch, place):
    from casflow.cli import main

    script = home.script()
    with pytest.raises(SystemExit):
        main(["register", "-p", str(script)])
    (reference,) = home.references()
    key = PLACES[place].format(reference=f"plain/{reference.name}")
    path = home.path / "flows" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(LONG)
    whole = LocalBlobStore.get
    monkeypatch.setattr(LocalBlobStore, "get", lambda store, asked: _checked(whole, store, asked))
    for words in COMMANDS:
        given = [*words.split(), *([str(script)] if words.endswith("-p") else [])]
        with pytest.raises(SystemExit) as ended:
            main(given)
        said = capsys.readouterr()
        assert ended.value.code != 1, (given, said)
        assert "unexpected" not in said.err


def _checked(whole, store, key):
    info = store.find(key)
    assert info is None or info.size < LONG, key
    return whole(store, key)


def test_a_long_reference_is_an_error_that_names_it(home):
    storage = Local()
    path = storage.content.store.root / "etl" / "2027-01-01t00-00-00-000000-00-00"
    path.parent.mkdir(parents=True)
    path.write_bytes(b" " * (5 << 20))
    with pytest.raises(IntegrityError, match="a reference of"):
        storage.content.get_reference("etl/2027-01-01t00-00-00-000000-00-00")


def test_of_a_blob_that_has_grown_no_more_is_read_than_was_registered(tmp_path):
    content = ContentStore(LocalBlobStore(tmp_path))
    reference = content.commit(Draft("etl", b"code", PICKLE)).reference
    with (tmp_path / layout.blob(reference.digest, 0)).open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(IntegrityError, match="more than the 4 bytes"):
        content.copy(reference, "etl/copy")
    (tmp_path / layout.blob(reference.digest, 1)).write_bytes(b"code")
    content.copy(reference, "etl/copy")
    assert content.get_reference("etl/copy").digest == reference.digest
