"""OCI registry: Debian's `docker-registry`, storing in a folder, deletes allowed."""

from __future__ import annotations

import json

from tests.services.presence import program
from tests.services.process import Server


class Registry(Server):
    """A registry without authentication; engines take 127.0.0.1 as allowed over plain HTTP."""

    name = "oci"

    @property
    def host(self) -> str:
        """Host and port, as they stand in an image's name."""
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return the command line, after writing the settings that it names."""
        settings = self.folder / "config.json"  # JSON is YAML
        settings.write_text(json.dumps(self._settings()))
        return [program("docker-registry"), "serve", str(settings)]

    def _settings(self) -> dict[str, object]:
        folder = {"rootdirectory": str(self.folder / "data")}
        return {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": folder, "delete": {"enabled": True}},
            "http": {"addr": self.host, "secret": "test"},
        }
