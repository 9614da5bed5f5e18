"""Scanning a folder: what belongs to a tree, what is left out, and what is refused."""

import os
import socket
import subprocess
import sys

import pytest

from casflow.errors import AccessError, ConfigError, NotFoundError, UnavailableError
from casflow.trees import scan as scanning
from casflow.trees.scan import scan


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def paths(folder):
    return [entry.path for entry in scan(folder)]


def test_times_owners_and_other_modes_do_not_count(tmp_path):
    one = write(tmp_path / "one", {"a.py": "1", "b/c": "2"})
    two = write(tmp_path / "two", {"b/c": "2", "a.py": "1"})
    (two / "a.py").chmod(0o640)
    os.utime(two / "b/c", (1, 1))
    assert scan(one).digest == scan(two).digest
    (two / "a.py").chmod(0o750)
    assert scan(one).digest != scan(two).digest


def test_what_no_project_means_is_left_out(tmp_path):
    left_out = [".git/HEAD", "a/__pycache__/x.pyc", ".venv/bin/python", "n/node_modules/y/z.js"]
    write(tmp_path, {**dict.fromkeys(left_out, "x"), "a/b.py": "", "git/x": "", "d/x.pyo": ""})
    assert paths(tmp_path) == ["a/b.py", "git/x"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="git is there")
def test_the_rules_are_gits(tmp_path):
    rules = "*.log\n!keep.log\n/top\nbuild/\ndoc/**/x\n# no\n\\#yes\n[ab].txt\nsp\\ ace\ntrail  \n"
    files = dict.fromkeys(
        ["x.log", "keep.log", "top/f", "s/top", "build/f", "s/build/f", "s/build2", "doc/x",
         "doc/a/b/x", "#yes", "a.txt", "c.txt", "sp ace", "trail", "s/keep.log", "s/in.log",
         "s/deep/y.log", "s/deep/z", "build2/f", "x/build"], "x",
    )  # fmt: skip
    write(tmp_path, {**files, ".gitignore": rules, "s/.gitignore": "!*.log\n/deep/z\n"})
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    listed = subprocess.run(
        ["git", "-c", "core.quotePath=off", "ls-files", "-co", "--exclude-standard"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert paths(tmp_path) == sorted(set(listed.stdout.split("\n")) - {""})


def test_casflowignore_speaks_after_gitignore(tmp_path):
    write(tmp_path, {".gitignore": "*.bin\n", ".casflowignore": "!m.bin\n*.csv\n"})
    write(tmp_path, {"m.bin": "", "n.bin": "", "d.csv": ""})
    assert paths(tmp_path) == [".casflowignore", ".gitignore", "m.bin"]


@pytest.mark.parametrize(
    "name",
    [".env", "a/.env.prod", "id_rsa", "k/server.pem", "credentials.json", ".aws/credentials"],
)
def test_what_looks_like_a_secret_is_refused_unless_it_is_named(tmp_path, name):
    write(tmp_path, {name: "x", "a.py": ""})
    with pytest.raises(AccessError) as caught:
        scan(tmp_path)
    assert name in str(caught.value)
    write(tmp_path, {".casflowinclude": f"/{name}\n"})
    assert name in paths(tmp_path)
    write(tmp_path, {".casflowinclude": "", ".casflowignore": f"/{name}\n"})
    assert name not in paths(tmp_path)


def test_an_example_of_a_secret_is_none(tmp_path):
    write(tmp_path, {".env.example": ""})
    assert paths(tmp_path) == [".env.example"]


def test_links_inside_are_kept_and_links_out_refused(tmp_path):
    write(tmp_path, {"d/f": "x"})
    (tmp_path / "l").symlink_to("d/f")
    (tmp_path / "m").symlink_to("d", target_is_directory=True)
    assert {each.path: each.target for each in scan(tmp_path) if each.target} == {
        "l": "d/f",
        "m": "d",
    }
    (tmp_path / "out").symlink_to("../elsewhere")
    with pytest.raises(ConfigError, match="out of the tree"):
        scan(tmp_path)


def test_what_is_no_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        with pytest.raises(ConfigError, match="neither a file"):
            scan(tmp_path)
    (tmp_path / "s").unlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe"):
        scan(tmp_path)


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system refuses such names")
def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / os.fsdecode(b"\xff")).touch()
    with pytest.raises(ConfigError, match="not UTF-8"):
        scan(tmp_path)


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path, monkeypatch, size):
    write(tmp_path, {"f": b"x" * size})
    read = os.read

    def changing(descriptor, count):
        data = read(descriptor, count)
        with (tmp_path / "f").open("r+b") as file:
            file.write(b"y")
        os.utime(tmp_path / "f", (5, 5))
        return data

    monkeypatch.setattr(scanning.os, "read", changing)
    with pytest.raises(UnavailableError, match="changed"):
        scan(tmp_path)


def test_no_folder_and_no_files(tmp_path):
    assert len(scan(tmp_path)) == 0
    with pytest.raises(NotFoundError):
        scan(tmp_path / "none")
    write(tmp_path, {"f": ""})
    with pytest.raises(ConfigError, match="not a folder"):
        scan(tmp_path / "f")
