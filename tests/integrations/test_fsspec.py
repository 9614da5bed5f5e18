"""Trees of a store as a file system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fsspec
import pytest

from casflow.blobs.local import LocalBlobStore
from casflow.digests import digest_of
from casflow.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    import casflow


@pytest.fixture
def pushed(store: casflow.Store, project: Path) -> casflow.store.Version:
    return store.push(project, "proj")


@pytest.fixture
def fs(store: casflow.Store, pushed: object) -> fsspec.AbstractFileSystem:
    return fsspec.filesystem("casflow", store=store.url, skip_instance_cache=True)


def test_a_url_names_store_tree_and_file(store, pushed) -> None:
    for ref in ("proj", "proj@1", f"proj@{pushed.digest}", pushed.path_safe):
        with fsspec.open(f"casflow://{store.url}!{ref}/data/numbers.csv", "rt") as file:
            assert file.read() == "a,b\n1,2\n3,4\n"


def test_lists_walks_and_globs(fs) -> None:
    assert fs.ls("", detail=False) == ["proj"]
    assert sorted(fs.ls("proj", detail=False)) == ["proj/data", "proj/pkg"]
    assert sorted(fs.glob("proj/**/*.csv")) == ["proj/data/latest.csv", "proj/data/numbers.csv"]
    assert [folder for folder, _, _ in fs.walk("proj")] == ["proj", "proj/data", "proj/pkg"]
    assert fs.isdir("proj/data")
    assert fs.isfile("proj/data/numbers.csv")
    assert not fs.exists("proj/nothing")
    assert not fs.exists("other")


def test_reads_a_range_and_follows_links(fs) -> None:
    assert fs.cat_file("proj/data/numbers.csv", start=4, end=7) == b"1,2"
    assert fs.cat_file("proj/data/latest.csv") == fs.cat_file("proj/data/numbers.csv")
    assert fs.info("proj/data/latest.csv")["size"] == 12


def test_a_key_is_the_digest_of_the_content(fs) -> None:
    assert fs.ukey("proj/data/numbers.csv") == digest_of(b"a,b\n1,2\n3,4\n")


def test_gets_a_folder(fs, tmp_path: Path) -> None:
    fs.get("proj/data", str(tmp_path / "copy"), recursive=True)
    assert (tmp_path / "copy" / "numbers.csv").read_text() == "a,b\n1,2\n3,4\n"


def test_refuses_to_write(fs) -> None:
    with pytest.raises(OSError, match="read-only"):
        fs.open("proj/new", "wb")


def test_a_folder_is_not_a_file(fs) -> None:
    with pytest.raises(IsADirectoryError):
        fs.open("proj/data")


def test_a_name_is_resolved_again_when_told_or_when_time_is_up(fs, store, project) -> None:
    path = "proj/pkg/__init__.py"
    assert fs.cat_file(path) == b"VERSION = 1\n"
    (project / "pkg" / "__init__.py").write_text("VERSION = 2\n")
    store.push(project, "proj")
    assert fs.cat_file(path) == b"VERSION = 1\n"
    fs.invalidate_cache()
    assert fs.cat_file(path) == b"VERSION = 2\n"
    assert fs.cat_file(path.replace("proj", "proj@1")) == b"VERSION = 1\n"
    at_once = fsspec.filesystem(
        "casflow", store=store.url, listings_expiry_time=0, skip_instance_cache=True
    )
    assert at_once.cat_file(path) == b"VERSION = 2\n"


def test_a_link_to_itself_is_no_file(store, tmp_path: Path) -> None:
    folder = tmp_path / "loop"
    folder.mkdir()
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    store.push(folder, "loop")
    fs = fsspec.filesystem("casflow", store=store.url, skip_instance_cache=True)
    with pytest.raises(FileNotFoundError):
        fs.info("loop/a")
    assert [each["type"] for each in fs.ls("loop")] == ["link", "link"]


def test_a_link_to_a_folder_is_read_through_and_not_walked_into(store, project) -> None:
    (project / "top").symlink_to(".")
    (project / "numbers").symlink_to("data")
    store.push(project, "proj")
    fs = fsspec.filesystem("casflow", store=store.url, skip_instance_cache=True)
    assert fs.isdir("proj/numbers")
    names = ["proj/numbers/latest.csv", "proj/numbers/numbers.csv"]
    assert fs.ls("proj/numbers", detail=False) == names
    assert fs.cat_file("proj/top/top/numbers/latest.csv") == b"a,b\n1,2\n3,4\n"
    assert [folder for folder, _, _ in fs.walk("proj")] == ["proj", "proj/data", "proj/pkg"]


@pytest.fixture
def stop_store(monkeypatch):
    def refuse(*_):
        raise UnavailableError("no answer", where="the store")

    def stop() -> None:
        for name in ("get", "get_range", "copy_to", "find", "list"):
            monkeypatch.setattr(LocalBlobStore, name, refuse)

    return stop


def test_what_is_checked_out_is_read_by_its_digest_while_the_store_is_down(
    store, pushed, stop_store
) -> None:
    shared = store.checkout(pushed)
    stop_store()
    fs = fsspec.filesystem("casflow", store=store.url, skip_instance_cache=True)
    tree = f"proj@{pushed.digest}"
    assert fs.cat_file(f"{tree}/data/latest.csv") == b"a,b\n1,2\n3,4\n"
    assert fs.glob(f"{tree}/**/numbers.csv") == [f"{tree}/data/numbers.csv"]
    with pytest.raises(FileNotFoundError):
        fs.cat_file(f"{tree}/data/none.csv")
    with pytest.raises(UnavailableError, match="no answer"):
        fs.cat_file("proj/data/latest.csv")
    (shared / "data" / "numbers.csv").chmod(0o644)
    (shared / "data" / "numbers.csv").write_text("a,b\n6,6\n6,6\n")
    with pytest.raises(UnavailableError, match="no answer"):
        fs.cat_file(f"{tree}/data/numbers.csv")


def test_a_name_that_was_resolved_is_read_until_its_time_is_up(fs, stop_store) -> None:
    path = "proj/data/numbers.csv"
    assert fs.cat_file(path) == b"a,b\n1,2\n3,4\n"
    stop_store()
    assert fs.cat_file(path) == b"a,b\n1,2\n3,4\n"
    fs.invalidate_cache()
    with pytest.raises(UnavailableError, match="no answer"):
        fs.cat_file(path)
