"""Podman: its Docker-compatible service on a socket in a temporary folder.

Invariant: images, containers and settings are the service's own, in its folder; the machine's own
podman, if there is one, is never asked.
"""

from __future__ import annotations

import os
import subprocess

from tests.services.engine import DockerEngine
from tests.services.presence import program, require

_REGISTRIES = """\
unqualified-search-registries = []
short-name-mode = "disabled"
[[registry]]
location = "127.0.0.1"
insecure = true
"""
# Without it the service asks for more than a container of CI may have.
_LIMITS = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'


def require_podman() -> None:
    """Skip or fail unless podman can serve."""
    require("podman", "podman", "catatonit", "docker", install="podman catatonit", root=True)


class PodmanEngine(DockerEngine):
    """The service's process, run by root."""

    name = "podman"

    def __init__(self) -> None:
        super().__init__("vfs")

    def command(self) -> list[str]:
        """Return the command line."""
        return [*self._podman(), "system", "service", "--time=0", self.url]

    def _podman(self) -> list[str]:
        places = [f"--{each}={self.folder / each}" for each in ("root", "runroot", "tmpdir")]
        kinds = [f"--storage-driver={self.driver}", "--cgroup-manager=cgroupfs"]
        return [program("podman"), *places, *kinds, "--events-backend=file"]

    def _identity(self) -> dict[str, object]:
        registries = self.folder / "registries.conf"
        registries.write_text(_REGISTRIES)
        settings = self.folder / "containers.conf"
        settings.write_text(_LIMITS)
        own = {"CONTAINERS_REGISTRIES_CONF": str(registries), "CONTAINERS_CONF": str(settings)}
        return {"env": {**os.environ, **own}}

    def _end_containers(self) -> None:
        for command in (["rm", "--all", "--force", "--time=0"], ["umount", "--all"]):
            subprocess.run([*self._podman(), *command], check=False, capture_output=True)
