"""Trees of a store as a file system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fsspec
import pytest

from casflow.digests import digest_of

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
