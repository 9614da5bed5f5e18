"""Looking a version up without SQLAlchemy: the same answer as the registry's, or none."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from casflow.digests import digest_of
from casflow.errors import ConfigError
from casflow.registry import Registry
from casflow.registry.lookup import find_version
from tests.registry.processes import REFERENCE

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = digest_of(b"1"), digest_of(b"2")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """URL of a registry with three versions of a flow and one of another, in a strange folder."""
    folder = tmp_path / "a %41? #b"
    url = f"sqlite:///{folder}/registry.db"
    with Registry(url) as registry:
        for flow, digest, labels in (
            ("Löwe", FIRST, ()),
            ("Löwe", SECOND, ("b", "a")),
            ("Löwe", FIRST, ("a",)),
            ("other", FIRST, ()),
        ):
            registry.add_version(
                project="P",
                flow=flow,
                digest=digest,
                storage={"type": "Local", "flows": {flow: "ö"}},
                reference=None if labels else REFERENCE,
                labels=labels,
                location="ö",
                idempotency_key="key",
            )
    return url


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"number": 2},
        {"digest": FIRST},
        {"digest": SECOND},
        {"number": 1, "digest": FIRST},
    ],
)
def test_it_finds_what_the_registry_finds(url: str, asked: dict[str, Any]) -> None:
    with Registry(url) as registry:
        wanted = registry.get_version("P", "Löwe", asked.get("number"), asked.get("digest"))
    assert find_version(url, "P", "Löwe", **asked) == wanted


@pytest.mark.parametrize(
    ("project", "flow", "asked"),
    [
        ("P", "absent", {}),
        (None, "Löwe", {}),
        ("P", "Löwe", {"number": 9}),
        ("P", "Löwe", {"number": 2, "digest": FIRST}),
    ],
)
def test_it_finds_nothing_where_there_is_nothing(
    url: str, project: str | None, flow: str, asked: dict[str, Any]
) -> None:
    assert find_version(url, project, flow, **asked) is None


def test_it_leaves_servers_absent_and_damaged_files_to_the_registry(tmp_path: Path) -> None:
    absent, damaged = tmp_path / "absent.db", tmp_path / "damaged.db"
    damaged.write_bytes(b"SQLite format 3\0" + b"x" * 4096)
    for url in (f"sqlite:///{absent}", f"sqlite:///{damaged}", "postgresql+psycopg://u@h/d"):
        assert find_version(url, None, "flow") is None
    assert not absent.exists()
    with pytest.raises(ConfigError):
        find_version("sqlite:///:memory:", None, "flow")


def test_it_leaves_tables_of_another_schema_to_the_registry(url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a %41? #b" / "registry.db")) as connection:
        connection.execute("UPDATE casflow_schema SET number = number + 1")
        connection.commit()
    assert find_version(url, "P", "Löwe") is None


def test_it_imports_no_sqlalchemy(url: str) -> None:
    code = (
        "import sys; from casflow.registry.lookup import find_version\n"
        f"assert find_version({url!r}, 'P', 'Löwe').number == 3\n"
        "assert 'sqlalchemy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
