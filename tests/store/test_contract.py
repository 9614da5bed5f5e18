"""What a store does, on every kind of backend."""

from __future__ import annotations

import pickle

import pytest

from casflow.errors import ConflictError, NotFoundError
from tests.store.conftest import contents, write

FILES = {"etl/__main__.py": "print(1)", "etl/data.csv": "a,b\n1,2\n", "empty": "", "run.sh": "#!"}


@pytest.fixture
def project(tmp_path):
    folder = write(tmp_path / "project", FILES)
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("etl/data.csv")
    return folder


def test_a_folder_goes_down_and_comes_up_again_on_another_machine(open_store, project, tmp_path):
    version = open_store().push(project, "etl", labels=["x"])
    assert (version.name, version.version, version.is_new) == ("etl", 1, True)
    assert (version.files, version.bytes) == (5, sum(map(len, FILES.values())))
    found = open_store().resolve("etl")
    assert (found.files, found.bytes) == (version.files, version.bytes)
    there = open_store(machine="there")
    shared = there.checkout("etl")
    assert contents(shared) == contents(project)
    assert (shared / "run.sh").stat().st_mode & 0o777 == 0o555
    private = there.checkout("etl@1", tmp_path / "private")
    assert contents(private) == contents(project)
    assert (private / "link").readlink().as_posix() == "etl/data.csv"
    (private / "new").write_text("mine")
    assert there.push(private, "etl").version == 2


def test_what_is_unchanged_is_no_version_and_what_changed_sends_only_itself(store, project):
    first = store.push(project, "etl")
    again = store.push(project, "etl")
    assert not again.is_new
    assert again.uploaded == 0
    assert again == first
    (project / "etl/big").write_bytes(bytes(range(256)) * 400)
    second = store.push(project, "etl")
    (project / "etl/data.csv").write_text("a,b\n")
    third = store.push(project, "etl")
    assert [second.version, third.version] == [2, 3]
    assert third.uploaded < 5000
    assert second.uploaded > 100_000
    assert [each.version for each in store.versions("etl")] == [3, 2, 1]
    assert store.verify(1.0).clean


def test_every_way_to_name_a_version(store, project):
    first = store.push(project, "My etl")
    write(project, {"more": "x"})
    second = store.push(project, "My etl")
    store.tag("My etl@1", "prod")
    for ref in ("My etl@1", "My etl@prod", f"My etl@{first.digest}", f"My etl@{first.path_safe}",
                f"My etl@{first.digest[7:19]}", first.digest, first.path_safe, first.digest[7:15],
                first):  # fmt: skip
        found = store.resolve(ref)
        assert found == store.versions("My etl")[1], ref
        assert found.tags == ("prod",)
    assert store.resolve("My etl").version == second.version == 2
    for ref in ("other", "My etl@3", "My etl@none", "My etl@" + "0" * 64, "0" * 64):
        with pytest.raises(NotFoundError):
            store.resolve(ref)
    assert store.names() == ["My etl"]


def test_a_tag_moves_forth_and_back_and_remembers(store, project):
    store.push(project, "etl")
    write(project, {"more": "x"})
    store.push(project, "etl")
    moves = [store.tag(ref, "prod") for ref in ("etl@1", "etl@2", "etl@2", "etl@1")]
    assert [move.counter for move in moves] == [1, 2, 2, 3]
    history = store.history("etl", "prod")
    assert [(move.version, move.before) for move in history] == [
        (1, moves[1].after),
        (2, moves[0].after),
        (1, None),
    ]
    assert all("@" in move.by for move in history)
    assert store.tags("etl")["prod"].version == 1


def test_bytes_by_digest_and_by_name(store, tmp_path):
    loose = store.put(b"loose", keep="7d")
    (tmp_path / "file").write_bytes(b"from a file")
    named = store.put(tmp_path / "file", "data")
    assert (named.name, named.version) == ("data", 1)
    assert store.put(b"from a file", "data") == named
    assert store.put(b"other", "data").version == 2
    assert store.get(loose.digest) == b"loose"
    with store.open(named.digest) as file:
        assert file.read() == b"from a file"
    with pytest.raises(NotFoundError):
        store.get("blake3:" + "0" * 64)


def test_a_file_that_changes_before_its_upload_is_stored_as_read(store, tmp_path, monkeypatch):
    file, create = tmp_path / "file", type(store._content.store).create
    file.write_bytes(b"first")

    def late(self, key, data):
        file.write_bytes(b"other")
        create(self, key, data)

    with monkeypatch.context() as patch:
        patch.setattr(type(store._content.store), "create", late)
        blob = store.put(file, "data")
    assert store.get(blob.digest) == b"first"
    assert store.verify(1.0).clean


def test_a_promotion_sends_only_what_is_missing(open_store, project):
    store, other = open_store(), open_store("other")
    store.push(project, "etl")
    store.tag("etl", "prod")
    first = store.copy("etl@prod", other)
    write(project, {"more": "x" * 10})
    store.push(project, "etl")
    second = store.copy("etl", other)
    assert (first.version, second.version) == (1, 2)
    assert 0 < second.uploaded < first.uploaded + 100
    assert not store.copy("etl", other).is_new
    assert contents(other.checkout("etl")) == contents(project)
    assert other.resolve("etl@1").tags == ()


def test_a_store_is_a_value_without_a_secret(store, project):
    store.push(project, "etl")
    again = pickle.loads(pickle.dumps(store))
    assert again.resolve("etl") == store.resolve("etl")
    assert "Key" not in repr(store)


def test_a_private_copy_never_lands_in_what_is_there(store, project, tmp_path):
    store.push(project, "etl")
    write(tmp_path / "mine", {"file": "x"})
    with pytest.raises(ConflictError):
        store.checkout("etl", tmp_path / "mine")
    assert contents(tmp_path / "mine") == {"file": b"x"}
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".mine")] == []
    (tmp_path / "empty").mkdir()
    store.checkout("etl", tmp_path / "empty")


def test_one_file_can_be_read_without_the_others(store, project):
    store.push(project, "etl")
    assert store.read_file("etl@1", "etl/data.csv") == b"a,b\n1,2\n"
    assert store.read_file("etl@1", "link") == b"a,b\n1,2\n"
    with store.open_file("etl", "empty") as file:
        assert file.read() == b""
    with pytest.raises(NotFoundError):
        store.read_file("etl", "none")
    assert [entry.path for entry in store.listing("etl")] == [
        "empty", "etl/__main__.py", "etl/data.csv", "link", "run.sh",
    ]  # fmt: skip


def test_a_pin_and_a_lease(store, project):
    store.push(project, "etl")
    assert store.lease("etl")
    assert not store.lease("etl")
    name = store.pin("etl", "kept")
    assert name == "kept"
    store.unpin("kept")
    with pytest.raises(NotFoundError):
        store.unpin("kept")


def test_a_dry_run_writes_nothing(store, project):
    version = store.push(project, "etl", dry_run=True)
    assert version.is_new
    assert version.uploaded > 0
    with pytest.raises(NotFoundError):
        store.resolve("etl")
    assert store.push(project, "etl").digest == version.digest
