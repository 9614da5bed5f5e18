"""Podman: its Docker-compatible service on a socket in a temporary folder.

Invariant: images, containers and settings are the service's own, in its folder; the machine's own
podman, if there is one, is never asked.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from contextlib import suppress

import pytest

from tests.services.engine import DockerEngine
from tests.services.presence import missing, program, require

ROOTLESS = "casflow-rootless"  # a user with sub-ids, as useradd makes one
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


def require_rootless_podman() -> None:
    """Skip or fail unless podman can serve as a user; skip where no user may have namespaces."""
    require_podman()
    require("rootless podman", "newuidmap", "runuser", install="uidmap util-linux", root=True)
    try:
        pwd.getpwnam(ROOTLESS)
    except KeyError:
        missing("rootless podman", f"no user {ROOTLESS}; run useradd --create-home {ROOTLESS}")
    command = [program("runuser"), "-u", ROOTLESS, "--", "unshare", "--user", "true"]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine lets no user make namespaces")


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
        """Return the environment, after writing the settings that it names."""
        registries = self.folder / "registries.conf"
        registries.write_text(_REGISTRIES)
        settings = self.folder / "containers.conf"
        settings.write_text(_LIMITS)
        own = {"CONTAINERS_REGISTRIES_CONF": str(registries), "CONTAINERS_CONF": str(settings)}
        return {"env": {**os.environ, **own}}

    def _end_containers(self) -> None:
        for command in (["rm", "--all", "--force", "--time=0"], ["umount", "--all"]):
            whole = [*self._podman(), *command]
            subprocess.run(whole, check=False, capture_output=True, **self._identity())


class RootlessPodmanEngine(PodmanEngine):
    """The service's process, run by a user of its own."""

    name = "podman-rootless"
    user = ROOTLESS

    def _identity(self) -> dict[str, object]:
        made = super()._identity()
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        for each in (self.folder, *self.folder.iterdir()):
            if each.stat().st_uid == 0:
                shutil.chown(each, ROOTLESS, ROOTLESS)
        own = {"HOME": str(self.folder), "XDG_RUNTIME_DIR": str(run), "USER": ROOTLESS}
        who = {"user": ROOTLESS, "group": ROOTLESS, "extra_groups": [], "start_new_session": True}
        return {**who, "env": {**made["env"], **own}}

    def stop(self) -> None:
        """End the service, its process inside of the user's namespaces, and what holds these."""
        group = None if self.process is None else self.process.pid
        super().stop()
        with suppress(OSError, ValueError):
            os.kill(int((self.folder / "tmpdir" / "pause.pid").read_text()), signal.SIGKILL)
        if group is not None:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
