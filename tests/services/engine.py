"""Docker engine: a dockerd of our own on a socket in a temporary folder.

Invariant: no bridge and no firewall rule is made, so containers run with host networking or with
none; the machine's own engine, if there is one, is never asked.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from tests.services.presence import program, require
from tests.services.process import Server

if TYPE_CHECKING:
    from pathlib import Path


def require_engine() -> None:
    """Skip or fail unless an engine can be started."""
    require("Docker engine", "dockerd", "docker", install="docker.io iptables", root=True)


class DockerEngine(Server):
    """The engine's process; every one has its own images and containers."""

    name = "docker"
    leaves_traces = True

    def __init__(self, driver: str = "overlay2") -> None:
        super().__init__()
        self.driver = driver

    @property
    def url(self) -> str:
        """What `DOCKER_HOST` and `base_url` take."""
        return f"unix://{self.folder / 'sock'}"

    def command(self) -> list[str]:
        """Return the command line."""
        quiet = ["--iptables=false", "--bridge=none", f"--storage-driver={self.driver}"]
        place = [f"--data-root={self.folder / 'root'}", f"--exec-root={self.folder / 'exec'}"]
        files = ["-H", self.url, f"--pidfile={self.folder / 'pid'}"]
        return [program("dockerd"), *quiet, *place, *files]

    def start(self) -> None:
        """Start the engine, with whole copies of layers where overlays are not to be had."""
        try:
            super().start()
        except RuntimeError:
            if self.driver == "vfs":
                raise
            shutil.rmtree(self.folder / "root", ignore_errors=True)
            self.driver = "vfs"
            super().start()

    def ready(self) -> bool:
        """Tell whether the engine answers."""
        return self.docker("version", check=False).returncode == 0

    def docker(self, *arguments: str, check: bool = True, **options: Any) -> Any:
        """Run the command line client on this engine; its output is in `stdout`, as text."""
        command = ["docker", "-H", self.url, *arguments]
        return subprocess.run(command, check=check, capture_output=True, text=True, **options)

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self._end_containers()
        self.stop()
        # The engine leaves these behind, the folder if it did not start at once.
        for mount in (*(self.folder / "exec/netns").glob("*"), self.folder / "root"):
            subprocess.run(["umount", str(mount)], check=False, capture_output=True)
        super().__exit__()

    def _end_containers(self) -> None:
        running = self.docker("ps", "-q", check=False).stdout.split()
        if running:
            self.docker("kill", *running, check=False)

    def load_root(self, archive: Path, image: str) -> str:
        """Make an image of one layer from an archive of a root folder, once; return its name."""
        if self.docker("image", "inspect", image, check=False).returncode != 0:
            self.docker("import", str(archive), image)
        return image
