"""Registries of older schemas: brought up to date once, as a whole, with all that they hold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, event, inspect, text

from casflow.digests import digest_of
from casflow.errors import ConfigError, IntegrityError
from casflow.redaction import redact
from casflow.registry import SCHEMA, Registry
from casflow.registry.migrations import ALEMBIC_TABLE, config
from casflow.registry.schema import metadata
from tests.registry.processes import at_once, in_background

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

DIGEST = digest_of(b"code")
OLD_ROWS = [
    "INSERT INTO casflow_projects VALUES (1, 'p', 'default')",
    "INSERT INTO casflow_flows VALUES (1, 1, 'f', 'etl', 1)",
    (
        "INSERT INTO casflow_versions VALUES"
        f" (1, 1, 1, '{DIGEST}', '{{}}', NULL, '[]', 'here', NULL, 5)"
    ),
    "INSERT INTO casflow_label_sets VALUES (1, 'l', '[\"gpu\"]')",
    "INSERT INTO casflow_agents VALUES (1, 'old', 'h', 1, '[]', 1, 2, NULL)",
    (
        "INSERT INTO casflow_runs VALUES"
        " (1, 1, 1, '{\"n\": 3}', 'Scheduled', NULL, 1, 0, 0, NULL, NULL, 1, NULL, NULL, NULL)"
    ),
]


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """A plain engine on an empty database."""
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def old(url: str, engine: Engine) -> str:
    """URL of a registry of schema 1, as casflow left it before it had migrations."""
    with engine.begin() as connection:
        command.upgrade(config(connection), "1")
        connection.execute(text(f"DROP TABLE {ALEMBIC_TABLE}"))
        for statement in OLD_ROWS:
            connection.execute(text(statement))
    return url


def differences(connection: Connection) -> list[Any]:
    """Return where a database's tables are not those that this casflow makes."""
    context = MigrationContext.configure(connection, opts={"include_name": _is_ours})
    return compare_metadata(context, metadata)


def _is_ours(name: str | None, kind: str, _: object) -> bool:
    return kind != "table" or name != ALEMBIC_TABLE


def number(connection: Connection) -> list[Any]:
    return list(connection.execute(text("SELECT number FROM casflow_schema")).scalars())


def test_a_new_registry_has_the_last_schema(url: str, engine: Engine) -> None:
    with Registry(url) as registry:
        assert registry.agents() == []
    with engine.connect() as connection:
        assert number(connection) == [SCHEMA]
        assert differences(connection) == []


def test_the_revisions_lead_from_nothing_to_the_same_tables(engine: Engine) -> None:
    with engine.begin() as connection:
        command.upgrade(config(connection), "head")
    with engine.connect() as connection:
        assert number(connection) == [SCHEMA]
        assert differences(connection) == []


def test_an_old_registry_keeps_what_it_holds(old: str, engine: Engine) -> None:
    with Registry(old) as registry:
        assert registry.get_by_digest(DIGEST[:20]).flow == "etl"
        assert [each.name for each in registry.agents()] == ["old"]
        run = registry.get_run(1)
        assert (run.flow, run.version, run.parameters, run.labels) == ("etl", 1, {"n": 3}, ("gpu",))
        registry.limit_label("gpu", 1)
        assert registry.label_limits() == {"gpu": 1}
    with engine.connect() as connection:
        assert number(connection) == [SCHEMA]
        assert differences(connection) == []


def look(url: str, _: int) -> str:
    """Open a registry and return what it holds."""
    with Registry(url) as registry:
        return registry.get_run(1).flow


def test_many_processes_upgrade_once(old: str, engine: Engine) -> None:
    assert at_once(16, look, old) == ["etl"] * 16
    with engine.connect() as connection:
        assert number(connection) == [SCHEMA]
        assert differences(connection) == []


def look_and_die(url: str, left: int) -> None:
    """Open a registry, and be killed behind so many statements that change something."""
    with Registry(url) as registry:

        @event.listens_for(Engine, "after_cursor_execute")
        def count_down(_: object, cursor: object, statement: str, *more: object) -> None:
            nonlocal left
            left -= not statement.lstrip().startswith(("SELECT", "PRAGMA"))
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

        registry.agents()


def test_an_upgrade_that_is_killed_anywhere_leaves_one_schema(old: str, engine: Engine) -> None:
    for statement in count(1):
        doomed = in_background(look_and_die, old, statement)
        doomed.join()
        assert doomed.exitcode in (0, -signal.SIGKILL)
        with engine.connect() as connection:
            stands, tables = number(connection), inspect(connection).get_table_names()
            assert stands in ([1], [SCHEMA])
            assert ("casflow_label_limits" in tables) == (stands == [SCHEMA])
        if stands == [SCHEMA]:
            break
    assert statement > 5
    with Registry(old) as registry:
        assert registry.get_run(1).flow == "etl"


@pytest.mark.parametrize("found", [SCHEMA + 1, 1000])
def test_a_newer_schema_is_refused_and_left_alone(old: str, engine: Engine, found: int) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE casflow_schema SET number = {found}"))
    with Registry(old) as registry, pytest.raises(ConfigError) as caught:
        registry.agents()
    said = f"the registry has schema {found}, this casflow knows {SCHEMA}: {registry.where}"
    assert str(caught.value) == redact(f"{said}; use a newer casflow")
    with engine.connect() as connection:
        assert number(connection) == [found]
        assert not inspect(connection).has_table("casflow_label_limits")


def test_a_schema_that_never_was_is_damage(old: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE casflow_schema SET number = 0"))
    with Registry(old) as registry, pytest.raises(IntegrityError, match="schema 0"):
        registry.agents()


def test_alembic_is_imported_for_an_upgrade_alone(old: str) -> None:
    code = (
        "import sys; from casflow.registry import Registry\n"
        "for url in sys.argv[1:]:\n"
        "    with Registry(url) as registry: registry.agents()\n"
        "    print('alembic' in sys.modules)"
    )
    new = f"{old}.new" if old.startswith("sqlite") else old
    command = [sys.executable, "-c", code]
    before = [new] if new != old else []
    done = subprocess.run([*command, *before, old], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [*(["False"] * len(before)), "True"]
    done = subprocess.run([*command, old], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
