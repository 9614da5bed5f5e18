"""PostgreSQL: a cluster of its own in a temporary folder, run by an unprivileged user."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from pathlib import Path
from urllib.parse import quote, urlencode

from tests.services.presence import missing
from tests.services.process import Server


def find_binaries() -> Path | None:
    """Return the folder of the newest server programs, which distributions keep off the path."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    return found[-1].parent if found else None


def _version(initdb: Path) -> float:
    return float(initdb.parents[1].name)


def require_postgres() -> None:
    """Skip or fail unless a server can be started."""
    if find_binaries() is None:
        missing("PostgreSQL", "no initdb; install postgresql")


class PostgresServer(Server):
    """The server process; fsync is off, trust for everybody on loopback."""

    name = "postgres"
    leaves_traces = True
    stop_signal = signal.SIGINT  # "fast": does not wait for clients to go
    settings = ("fsync=off", "max_connections=200")
    authentication = ("--auth=trust",)

    def __init__(self) -> None:
        super().__init__()
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(self.folder, self.user)

    @property
    def data(self) -> Path:
        """Folder of the cluster."""
        return self.folder / "data"

    def command(self) -> list[str]:
        """Return the command line, after making the cluster at the first start."""
        binaries = find_binaries()
        assert binaries is not None
        if not self.data.exists():
            self._make_cluster(binaries)
        settings = [*self.settings, f"unix_socket_directories={self.folder}"]
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-D", str(self.data)]
        return [str(binaries / "postgres"), *address, *(f"-c{each}" for each in settings)]

    def _make_cluster(self, binaries: Path) -> None:
        how = [*self.authentication, "--username=test", "--encoding=UTF8", "--no-sync"]
        command = [str(binaries / "initdb"), "-D", str(self.data), *how]
        subprocess.run(
            command, check=True, capture_output=True, cwd=self.folder, **self._identity()
        )

    def ready(self) -> bool:
        """Tell whether the server takes queries, which is later than that it listens."""
        binaries = find_binaries()
        assert binaries is not None
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-q"]
        return subprocess.run([str(binaries / "pg_isready"), *address], check=False).returncode == 0

    def url_of(self, database: str) -> str:
        """Return SQLAlchemy's URL of a database."""
        return f"postgresql+psycopg://test@127.0.0.1:{self.port}/{database}"

    def dsn_of(self, database: str) -> str:
        """Return libpq's URL of a database."""
        return f"postgresql://test@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """Make a new, empty database and return its name."""
        import psycopg

        name = f"test_{uuid.uuid4().hex[:16]}"
        with psycopg.connect(self.dsn_of("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return name


class SecurePostgresServer(PostgresServer):
    """A server that speaks TLS under a certificate of its own, and wants a password."""

    settings = (*PostgresServer.settings, "ssl=on", "ssl_cert_file=../tls", "ssl_key_file=../key")
    authentication = ("--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile=password")
    password = "s3cr3t/word"

    def __init__(self) -> None:
        super().__init__()
        (self.folder / "password").write_text(self.password)
        make_certificate(self.certificate, self.folder / "key")
        for name in ("password", "tls", "key"):
            shutil.chown(self.folder / name, self.user) if self.user else None

    @property
    def certificate(self) -> Path:
        """The server's certificate, which is its own authority."""
        return self.folder / "tls"

    def url_of(self, database: str, *, password: str = password, **options: object) -> str:
        """Return SQLAlchemy's URL of a database, with libpq's options."""
        host = f"test:{quote(password, safe='')}@127.0.0.1:{self.port}"
        return f"postgresql+psycopg://{host}/{database}?{urlencode(options)}"


def make_certificate(certificate: Path, key: Path) -> None:
    """Write a certificate for 127.0.0.1 that signs itself, and its key."""
    name = ["-subj", "/CN=casflow test", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key)]
    command = ["openssl", "req", "-x509", *kind, "-out", str(certificate), *name]
    subprocess.run(command, check=True, capture_output=True)
    key.chmod(0o600)
