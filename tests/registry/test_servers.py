"""Servers as they are set up in the field: poolers, limits, failovers, missing schemas, clocks."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text

from casflow.errors import AccessError, CasflowError, ConfigError, UnavailableError
from casflow.registry import Registry, RunState
from casflow.registry.failures import of_driver
from tests.registry.processes import _add
from tests.services.pgbouncer import Pooler
from tests.services.presence import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.service


@pytest.fixture
def database(postgres_server: PostgresServer) -> str:
    """URL of an empty database."""
    return postgres_server.url_of(postgres_server.database())


@pytest.fixture(scope="module")
def pooler(postgres_server: PostgresServer) -> Iterator[Pooler]:
    """A pooler in transaction mode."""
    require("pgbouncer", "pgbouncer", install="pgbouncer")
    with Pooler(postgres_server) as pooler:
        yield pooler


def _execute(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def _failure(url: str) -> CasflowError:
    with Registry(url) as registry, pytest.raises(CasflowError) as caught:
        registry.create_run(_add(registry, "etl", b"code"))
    return caught.value


# ---- a pooler -------------------------------------------------------------------------------


def test_a_pooler_in_transaction_mode_serves_many_clients(
    postgres_server: PostgresServer, pooler: Pooler
) -> None:
    url = pooler.url_of(postgres_server.database())
    with Registry(url) as one, Registry(url) as two:
        agent = one.add_agent(name="a", host="h", pid=1, labels=[])
        for number in range(12):  # psycopg prepares a statement at its sixth use
            for registry in (one, two):
                registry.create_run(_add(registry, "etl", b"%d" % number))
        began = time.monotonic()
        with one.lock(None, "etl", timeout=30), two.lock(None, "other", timeout=30):
            assert len(one.claim(agent, limit=100)) == 24
        assert time.monotonic() - began < 20
        assert set(one.heartbeat(agent)) == set(two.held_by(agent))


def test_a_watch_behind_a_pooler_asks_again_by_itself(
    postgres_server: PostgresServer, pooler: Pooler
) -> None:
    with Registry(pooler.url_of(postgres_server.database())) as registry, registry.watch() as watch:
        assert watch.wait(0.01) is False
        assert watch.wait(30) is True
        assert watch.wait(0.01) is False


def test_no_lock_stays_on_a_server(database: str) -> None:
    with Registry(database) as registry:
        with registry.lock(None, "etl"):
            assert _locks(database) == 1
        assert _locks(database) == 0


def _locks(url: str) -> int:
    engine = create_engine(url)
    query = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with engine.connect() as connection:
        found = int(connection.execute(text(query)).scalar_one())
    engine.dispose()
    return found


# ---- what a server refuses ------------------------------------------------------------------


def test_a_user_s_limit_passes(postgres_server: PostgresServer, database: str) -> None:
    _execute(database, "CREATE ROLE few LOGIN CONNECTION LIMIT 0")
    error = _failure(database.replace("test@", "few@"))
    _execute(database, "DROP ROLE few")
    assert isinstance(error, UnavailableError)
    assert "no connection left" in str(error)


def test_a_database_s_limit_passes(database: str) -> None:
    name = database.rpartition("/")[2]
    _execute(database, "CREATE ROLE plain LOGIN", f"ALTER DATABASE {name} CONNECTION LIMIT 0")
    error = _failure(database.replace("test@", "plain@"))
    _execute(database, "DROP ROLE plain")
    assert isinstance(error, UnavailableError)
    assert "no connection left" in str(error)


def test_a_read_only_server_is_named_as_that(database: str) -> None:
    with Registry(database) as registry:
        registry.flows()
    name = database.rpartition("/")[2]
    _execute(database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    error = _failure(database)
    assert isinstance(error, UnavailableError)
    assert "server is read-only" in str(error)
    assert "primary" in str(error)


def test_a_missing_schema_is_named_as_that(database: str) -> None:
    error = _failure(f"{database}?options=-csearch_path%3Dnowhere")
    assert isinstance(error, ConfigError)
    assert "schema does not exist" in str(error)


def test_a_role_whose_name_reads_like_an_error_is_refused(database: str) -> None:
    error = _failure(database.replace("test@", "role%20of%20connection%20limit@"))
    assert isinstance(error, AccessError)


def test_an_unknown_host_may_come_back() -> None:
    error = _failure("postgresql://user@no-such-host.invalid/database")
    assert isinstance(error, UnavailableError)


def test_an_admin_shutdown_is_survived(database: str) -> None:
    with Registry(database) as registry:
        registry.flows()
        _execute(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        assert registry.flows() == []


@pytest.mark.parametrize(
    ("code", "family"),
    [
        ("53300", UnavailableError),
        ("57P01", UnavailableError),
        ("57P02", UnavailableError),
        ("57P03", UnavailableError),
        ("25006", UnavailableError),
        ("40001", UnavailableError),
        ("08006", UnavailableError),
        ("08P01", UnavailableError),
        ("57014", UnavailableError),
        ("28P01", AccessError),
        ("28000", AccessError),
        ("42501", AccessError),
        ("3D000", ConfigError),
        ("3F000", ConfigError),
        ("42P05", ConfigError),
    ],
)
def test_the_whole_code_decides(code: str, family: type[CasflowError]) -> None:
    import psycopg.errors

    texts = 'FATAL: authentication failed for role "database "x" does not exist"'
    error = psycopg.errors.lookup(code)(texts) if code[:2] != "08" else psycopg.OperationalError()
    error.sqlstate = code
    assert isinstance(of_driver(error, "here"), family)


# ---- clocks ---------------------------------------------------------------------------------


def _shifted(by: timedelta) -> type[datetime]:
    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz or UTC) + by

    return Shifted


@pytest.mark.parametrize("skew", [-40, 3600, -3600])
def test_an_agent_with_another_clock_keeps_its_run(
    database: str, monkeypatch: pytest.MonkeyPatch, skew: int
) -> None:
    with Registry(database) as registry:
        registry.create_run(_add(registry, "etl", b"code"))
        monkeypatch.setattr("casflow.registry.agents.datetime", _shifted(timedelta(seconds=skew)))
        monkeypatch.setattr("casflow.registry.database.datetime", _shifted(timedelta(seconds=skew)))
        agent = registry.add_agent(name="late", host="h", pid=1, labels=[])
        (run,) = registry.claim(agent)
        registry.heartbeat(agent)
        monkeypatch.undo()
        assert registry.recover(timedelta(seconds=30)) == []
        assert registry.get_run(run.id).state == RunState.RUNNING
        (there,) = registry.agents()
        assert there.skew is not None
        assert round(there.skew.total_seconds()) == skew
        overview = registry.overview()
        assert abs((overview.moment - there.heartbeat).total_seconds()) < 10


# ---- runs that nobody can take --------------------------------------------------------------


def test_labels_that_no_agent_carries_are_found(database: str) -> None:
    with Registry(database) as registry:
        version = _add(registry, "etl", b"code")
        registry.create_run(version, labels=["gpu", "linux"])
        assert registry.find_missing_labels(["gpu"]) == ("gpu",)
        assert registry.find_missing_labels([]) == ()
        registry.add_agent(name="a", host="h", pid=1, labels=["linux"])
        assert registry.find_missing_labels([]) is None
        assert registry.find_missing_labels(["linux"]) is None
        assert registry.find_missing_labels(["gpu", "linux"]) == ("gpu",)
        assert registry.overview().unserved == {("gpu", "linux"): 1}
        registry.add_agent(name="b", host="h", pid=2, labels=["linux", "gpu"])
        assert registry.overview().unserved == {}
