"""A registry behind TLS: who is trusted, and that the password never shows."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from casflow.errors import AccessError, CasflowError, ConfigError
from casflow.registry import Registry
from tests.registry.processes import _add
from tests.services.postgres import SecurePostgresServer, make_certificate, require_postgres
from tests.services.presence import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def server() -> Iterator[SecurePostgresServer]:
    """A server with a certificate for 127.0.0.1."""
    require_postgres()
    require("TLS", "openssl", install="openssl")
    with SecurePostgresServer() as server:
        yield server


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """The certificate of somebody else."""
    make_certificate(tmp_path / "stranger", tmp_path / "key")
    return tmp_path / "stranger"


def failure(server: SecurePostgresServer, **options: object) -> CasflowError:
    """Return what a registry says that cannot be opened."""
    with (
        Registry(server.url_of("postgres", **options)) as registry,
        pytest.raises(CasflowError) as caught,
    ):
        registry.flows()
    said = "".join(traceback.format_exception(caught.value))
    assert server.password not in said
    assert "s3cr3t" not in said
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_right_authority_lets_in_over_tls(server: SecurePostgresServer) -> None:
    url = server.url_of("postgres", sslmode="verify-full", sslrootcert=server.certificate)
    with Registry(url) as registry:
        assert _add(registry, "etl", b"code").number == 1
        with registry._db.read() as connection:
            query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            assert connection.exec_driver_sql(query).scalar_one() is True
        with registry.watch() as watch:
            registry.create_run(_add(registry, "etl", b"more"))
            assert watch.wait(10) is True
        assert server.password not in registry.where
        assert "sslmode=verify-full" in registry.where
    with Registry(registry.url) as again:
        assert again.get_version(None, "etl").number == 2


def test_another_authority_is_not_trusted(server: SecurePostgresServer, stranger: Path) -> None:
    error = failure(server, sslmode="verify-full", sslrootcert=stranger)
    assert isinstance(error, AccessError)
    assert str(error).startswith("the registry's server is not trusted (")
    assert str(error).endswith("; check sslrootcert and host")


def test_another_host_s_certificate_is_not_trusted(server: SecurePostgresServer) -> None:
    options = {"sslmode": "verify-full", "sslrootcert": server.certificate, "hostaddr": "127.0.0.1"}
    assert isinstance(failure(server, host="db.example.org", **options), AccessError)


def test_a_missing_authority_is_a_mistake_in_the_url(
    server: SecurePostgresServer, tmp_path: Path
) -> None:
    error = failure(server, sslmode="verify-full", sslrootcert=tmp_path / "none")
    assert isinstance(error, ConfigError)
    assert "none" in str(error)


@pytest.mark.parametrize("options", [{"sslmode": "sure"}, {"ssl_mode": "require"}])
def test_an_option_that_cannot_be_is_a_mistake_in_the_url(
    server: SecurePostgresServer, options: dict[str, str]
) -> None:
    assert isinstance(failure(server, **options), ConfigError)


def test_a_server_without_tls_is_not_trusted(postgres_server) -> None:
    url = postgres_server.url_of("postgres") + "?sslmode=require"
    with Registry(url) as registry, pytest.raises(AccessError, match="not trusted"):
        registry.flows()


def test_a_wrong_password_is_refused(server: SecurePostgresServer) -> None:
    error = failure(server, password="s3cr3t/guess", sslmode="require")
    assert isinstance(error, AccessError)


def test_a_password_that_is_missing_is_a_refused_login(
    server: SecurePostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", "/dev/null")
    url = server.url_of("postgres").replace(f":{quote(server.password, safe='')}@", "@")
    with Registry(url) as registry, pytest.raises(AccessError, match="refused the login"):
        registry.flows()


def test_a_password_among_the_options_never_shows() -> None:
    registry = Registry("postgresql://u@h/d?password=s3cr3t&sslpassword=s3cr3t2&sslmode=require")
    assert "s3cr3t" not in registry.where + repr(registry)
    assert "sslmode=require" in registry.where
    assert "password=s3cr3t" in registry.url
