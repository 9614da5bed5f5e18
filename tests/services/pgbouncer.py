"""pgbouncer: a pooler in transaction mode before a PostgreSQL server of the tests."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from tests.services.presence import find_program
from tests.services.process import Server

if TYPE_CHECKING:
    from tests.services.postgres import PostgresServer


class Pooler(Server):
    """The pooler's process; everybody may log in, and `pool` sessions serve them all."""

    name = "pgbouncer"
    pool = 2

    def __init__(self, server: PostgresServer) -> None:
        super().__init__()
        self._server = server
        self.user = "postgres" if os.geteuid() == 0 else None
        (self.folder / "users").write_text('"test" ""\n')
        (self.folder / "ini").write_text(f"""
[databases]
* = host=127.0.0.1 port={server.port} user=test
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = users
pool_mode = transaction
default_pool_size = {self.pool}
query_wait_timeout = 20
""")
        if self.user:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, self.user)

    def command(self) -> list[str]:
        """Return the command line."""
        return [str(find_program("pgbouncer")), "ini"]

    def url_of(self, database: str) -> str:
        """Return SQLAlchemy's URL of a database behind the pooler."""
        return f"postgresql+psycopg://test@127.0.0.1:{self.port}/{database}"
