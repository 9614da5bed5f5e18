"""Opening a registry: what is made, what is refused, and what each failure says."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from casflow.errors import (
    AccessError,
    CasflowError,
    ConfigError,
    IntegrityError,
    UnavailableError,
)
from casflow.registry import SCHEMA, Registry
from tests.registry.processes import _add

if TYPE_CHECKING:
    from collections.abc import Iterator

AS_NOBODY = """
import os, sys
from casflow.registry import Registry
with Registry(sys.argv[2]) as registry:  # imports what nobody might not be allowed to read
    registry.{call}
os.chdir("/")
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    with Registry(sys.argv[1]) as registry:
        registry.{call}
except Exception as error:
    print(type(error).__name__, error)
"""
FIND = "find_latest(None, 'etl')"
ADD = "add_agent(name='x', host='h', pid=1, labels=[])"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a registry with one flow is."""
    file = tmp_path / "registry.db"
    with Registry(f"sqlite:///{file}") as registry:
        _add(registry, "etl", b"code")
    return file


def test_nothing_is_made_before_the_first_use(tmp_path: Path) -> None:
    with Registry(f"sqlite:///{tmp_path}/new/registry.db"):
        assert list(tmp_path.iterdir()) == []


def test_the_folder_is_private(tmp_path: Path) -> None:
    with Registry(f"sqlite:///{tmp_path}/new/registry.db") as registry:
        assert registry.find_latest(None, "etl") is None
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_registry_survives_its_process_and_close(file: Path) -> None:
    registry = Registry(f"sqlite:///{file}")
    assert registry.get_version(None, "etl").number == 1
    registry.close()
    assert registry.get_version(None, "etl").number == 1
    registry.close()


@pytest.mark.parametrize("name", ["with space", "100%", "a?b=c", "ä#1"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    with Registry(f"sqlite:///{tmp_path / name}") as registry:
        _add(registry, "etl", b"code")
    assert (tmp_path / name).stat().st_size > 0


def test_it_is_written_ahead(file: Path) -> None:
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "needs a file"),
        ("sqlite:///", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("mysql://u:secret@h/d", "no such kind of registry: mysql"),
        ("postgresql+asyncpg://u:secret@h/d", "no such kind of registry"),
        ("registry.db", "cannot be understood"),
        ("postgresql://u:secret@h:port/d", "cannot be understood"),
        ("", "cannot be understood"),
    ],
)
def test_bad_urls_are_refused_without_their_password(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Registry(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_password_is_never_shown() -> None:
    registry = Registry("postgresql://u:secret@h/d")
    assert "secret" not in repr(registry) + registry.where
    assert "u:***@h" in registry.where


def test_a_newer_schema_is_refused(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("UPDATE casflow_schema SET number = ?", [SCHEMA + 1])
    connection.commit()
    connection.close()
    with Registry(f"sqlite:///{file}") as registry, pytest.raises(ConfigError, match="newer"):
        registry.find_latest(None, "etl")


def _overwrite(file: Path, data: bytes, offset: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b"not a database" * 1000),
        lambda file: _overwrite(file, b"\xff" * 4000, 96),
        lambda file: os.truncate(file, file.stat().st_size // 3),
        lambda file: _overwrite(file, b"\xff" * (file.stat().st_size - 4096), 4096),
    ],
    ids=["other content", "first page", "cut off", "all but the first page"],
)
def test_a_damaged_file_is_named(file: Path, damage) -> None:
    damage(file)
    with (
        Registry(f"sqlite:///{file}") as registry,
        pytest.raises(IntegrityError, match="restore it from a backup") as caught,
    ):
        registry.flows()
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_missing_table_is_damage(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("DROP TABLE casflow_versions")
    connection.close()
    with Registry(f"sqlite:///{file}") as registry, pytest.raises(IntegrityError, match="tables"):
        registry.flows()


def test_a_record_that_is_not_json_is_damage(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("UPDATE casflow_versions SET storage = '{'")
    connection.commit()
    connection.close()
    with Registry(f"sqlite:///{file}") as registry:
        (found,) = registry.damage()
        assert "JSON" in found.reason
        assert registry.flows() == []


def test_a_folder_in_the_file_s_place(tmp_path: Path) -> None:
    with Registry(f"sqlite:///{tmp_path}") as registry, pytest.raises(AccessError, match="opened"):
        registry.flows()


def test_a_file_in_the_folder_s_place(file: Path) -> None:
    with (
        Registry(f"sqlite:///{file}/registry.db") as registry,
        pytest.raises(AccessError, match="folder cannot be made"),
    ):
        registry.flows()


def _as_nobody(url: str, call: str) -> str:
    program = AS_NOBODY.replace("{call}", call)
    with tempfile.TemporaryDirectory() as scratch:
        other = f"sqlite:///{scratch}/registry.db"
        command = [sys.executable, "-W", "error", "-c", program, url, other]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder with a registry that this test's child may read but not write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Registry(f"sqlite:///{folder}/registry.db") as registry:
            _add(registry, "etl", b"code")
        (folder / "registry.db").chmod(0o444)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


def test_a_read_only_folder_without_a_registry(closed_folder: Path) -> None:
    for url in (f"sqlite:///{closed_folder}/new.db", f"sqlite:///{closed_folder}/a/b/new.db"):
        assert _as_nobody(url, FIND).startswith("AccessError the registry")


def test_a_registry_that_may_not_be_written(closed_folder: Path) -> None:
    said = _as_nobody(f"sqlite:///{closed_folder}/registry.db", ADD)
    assert said.startswith("AccessError the registry cannot be")
    assert f"{closed_folder}/registry.db" in said


def test_the_turn_of_a_read_only_registry_is_no_error(closed_folder: Path) -> None:
    said = _as_nobody(f"sqlite:///{closed_folder}/registry.db", "lock(None, 'x').__enter__()")
    assert said == ""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a small disk here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _fill(registry: Registry) -> None:
    for number in range(1000):
        _add(registry, "x" * 900, b"%d" % number)


def test_a_full_disk_says_so_and_leaves_nothing_half_written(small_disk: Path) -> None:
    with Registry(f"sqlite:///{small_disk}/registry.db") as registry:
        with pytest.raises(UnavailableError, match="room") as caught:
            _fill(registry)
        assert "registry.db" in str(caught.value)
        count = registry.get_version(None, "x" * 900).number
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="space"):
        filler.write_bytes(bytes(600_000))
    with (
        Registry(f"sqlite:///{small_disk}/other.db") as registry,
        pytest.raises((UnavailableError, AccessError)),
    ):
        registry.flows()
    filler.unlink()
    with Registry(f"sqlite:///{small_disk}/registry.db") as registry:
        assert len(registry.versions(None, "x" * 900)) == count


def test_an_engine_does_not_cross_a_fork(url: str) -> None:
    with Registry(url) as registry:
        _add(registry, "etl", b"code")
        engine = registry._db.engine()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                number = _add(registry, "etl", b"child").number
                other = registry._db.engine() is not engine
                registry.close()
                os.write(writer, f"{number} {other}".encode())
            except CasflowError as error:
                os.write(writer, str(error).encode())
            finally:
                os._exit(0)
        assert os.read(reader, 1000) == b"2 True"
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
        assert registry._db.engine() is engine
        assert _add(registry, "etl", b"parent").number == 3
