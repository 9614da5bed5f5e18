"""A forward proxy: squid, as offices have it."""

from __future__ import annotations

from tests.services.presence import program, require
from tests.services.process import Server

_SETTINGS = """\
http_port 127.0.0.1:{port}
http_access allow all
cache deny all
pid_filename {folder}/squid.pid
access_log stdio:{folder}/access.log
cache_log {folder}/cache.log
coredump_dir {folder}
shutdown_lifetime 1 seconds
"""


def require_squid() -> None:
    """Skip or fail unless squid is on the machine."""
    require("forward proxy", "squid", install="squid")


class Squid(Server):
    """The proxy, which lets everybody go everywhere and keeps nothing."""

    name = "squid"

    def command(self) -> list[str]:
        """Return the command line, after writing the settings."""
        self.folder.chmod(0o777)  # squid works as a user of its own
        settings = self.folder / "squid.conf"
        settings.write_text(_SETTINGS.format(folder=self.folder, port=self.port))
        return [program("squid"), "-N", "-f", str(settings)]

    @property
    def requests(self) -> list[str]:
        """The lines of its log: a request or tunnel each."""
        log = self.folder / "access.log"
        return log.read_text().splitlines() if log.exists() else []
