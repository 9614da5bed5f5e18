"""What only a server can do: be away, refuse, be restarted, share a database with others."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text

from casflow.errors import AccessError, ConfigError, IntegrityError, UnavailableError
from casflow.registry import SCHEMA, Registry
from tests.registry.processes import _add

pytestmark = pytest.mark.service


@pytest.fixture
def database(postgres_server) -> str:
    """URL of an empty database."""
    return postgres_server.url_of(postgres_server.database())


def _execute(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_a_server_that_is_away() -> None:
    with (
        Registry("postgresql://user:secret@127.0.0.1:1/d") as registry,
        pytest.raises(UnavailableError, match="check that the server runs") as caught,
    ):
        registry.flows()
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:1/d" in str(caught.value)


def test_an_unknown_user_is_refused(database: str) -> None:
    with (
        Registry(database.replace("test@", "stranger@")) as registry,
        pytest.raises(AccessError, match="refused the login"),
    ):
        registry.flows()


def test_an_unknown_database(postgres_server) -> None:
    with (
        Registry(postgres_server.url_of("nowhere")) as registry,
        pytest.raises(ConfigError, match="database does not exist"),
    ):
        registry.flows()


def test_a_user_without_rights(database: str) -> None:
    with Registry(database) as registry:
        _add(registry, "etl", b"code")
    _execute(database, "DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN")
    with (
        Registry(database.replace("test@", "guest@")) as registry,
        pytest.raises(AccessError, match="refused the request"),
    ):
        registry.flows()


def test_a_newer_schema_is_refused(database: str) -> None:
    with Registry(database) as registry:
        registry.flows()
    _execute(database, f"UPDATE casflow_schema SET number = {SCHEMA + 1}")
    with Registry(database) as registry, pytest.raises(ConfigError, match="newer"):
        registry.flows()


def test_a_missing_table_is_damage(database: str) -> None:
    with Registry(database) as registry:
        registry.flows()
        _execute(database, "DROP TABLE casflow_versions CASCADE")
        with pytest.raises(IntegrityError, match="tables"):
            registry.flows()


def test_other_people_s_tables_are_left_alone(database: str) -> None:
    _execute(database, "CREATE TABLE flows (x int)", "CREATE TABLE versions (y int)")
    with Registry(database) as registry:
        assert _add(registry, "etl", b"code").number == 1


def test_the_server_s_short_url_will_do(database: str) -> None:
    with Registry(database.replace("postgresql+psycopg:", "postgresql:")) as registry:
        assert registry.flows() == []


def test_a_registry_outlives_a_restart_of_its_server(postgres_server, database: str) -> None:
    with Registry(database) as registry:
        _add(registry, "etl", b"code")
        with registry.watch() as watch:
            postgres_server.restart()
            assert registry.get_version(None, "etl").number == 1
            with pytest.raises(UnavailableError, match="does not answer"):
                watch.wait(5)
        with registry.watch() as watch:
            assert watch.wait(0.1) is False


def test_nothing_of_the_driver_s_gets_out_while_the_server_is_away(
    postgres_server, database: str
) -> None:
    with Registry(database) as registry:
        registry.flows()
        postgres_server.stop()
        try:
            for act in (registry.flows, registry.watch, registry.lock(None, "x").__enter__):
                with pytest.raises(UnavailableError, match="check that the server runs"):
                    act()
        finally:
            postgres_server.start()


def test_a_turn_survives_a_restart(postgres_server, database: str) -> None:
    with Registry(database) as registry:
        with registry.lock(None, "etl"):
            postgres_server.restart()
            assert _add(registry, "etl", b"code").number == 1
        with registry.lock(None, "etl", timeout=5):
            assert _add(registry, "etl", b"more").number == 2
