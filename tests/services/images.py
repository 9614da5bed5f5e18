"""Base images, made here because none can be pulled: a Debian with Python, and a busybox.

The archive of the Debian root takes most of a minute to make, so it stays in a cache folder from
run to run. `python -m tests.services.images` makes it ahead of the tests. Invariant: an archive
in the cache is whole, and only one process at a time makes it.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.presence import cache_folder, program, require

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PYTHON_IMAGE = "casflow-test/python:3.11"
BUSYBOX_IMAGE = "casflow-test/busybox:1"
_RELEASE = "bookworm"  # the Debian whose python3 is 3.11
_PACKAGES = "python3,python3-pip,ca-certificates"
_BUNDLE = "etc/ssl/certs/ca-certificates.crt"


def require_debootstrap() -> None:
    """Skip or fail unless the Debian root can be made or is in the cache."""
    if not _archive().exists():
        require("base image", "debootstrap", install="debootstrap", root=True)


def python_root() -> Path:
    """Return the archive of a Debian root with Python and pip; make it when it is not there."""
    return debian_root("python", _RELEASE, _PACKAGES, _finish_image)


def debian_root(
    name: str, release: str, packages: str, finish: Callable[[Path], None] = lambda _: None
) -> Path:
    """Return the archive of a Debian root; make it when it is not there.

    Args:
        name: What it is called in the cache folder.
        release: The code name of the Debian.
        packages: What is installed beside the least, separated by commas.
        finish: What is changed in it.
    """
    archive = cache_folder() / f"{name}-{release}-1.tar"
    with archive.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            _make_root(archive, release, packages, finish)
    return archive


def _archive() -> Path:
    return cache_folder() / f"python-{_RELEASE}-1.tar"


def _make_root(archive: Path, release: str, packages: str, finish: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="casflow-root-") as folder:
        root = Path(folder, "root")
        what = ["--variant=minbase", f"--include={packages}", release]
        command = [program("debootstrap"), *what, str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        finish(root)
        _finish(root)
        part = archive.with_suffix(".part")
        subprocess.run(["tar", "-C", str(root), "-cf", str(part), "."], check=True)
        part.replace(archive)


def _finish_image(root: Path) -> None:
    """Make the root like the images that people build on: `python`, and pip that installs."""
    (root / "usr/bin/python").symlink_to("python3")
    for mark in root.glob("usr/lib/python3.*/EXTERNALLY-MANAGED"):
        mark.unlink()


def _finish(root: Path) -> None:
    """Let the root trust what this machine trusts, and drop what only installing needed."""
    bundle = Path(os.environ.get("SSL_CERT_FILE", f"/{_BUNDLE}"))
    if bundle.is_file():  # the network of this machine may have an authority of its own
        shutil.copyfile(bundle, root / _BUNDLE)
    for leftover in [
        *root.glob("var/cache/apt/archives/*.deb"),
        *root.glob("var/lib/apt/lists/*_*"),
    ]:
        leftover.unlink()


def busybox_root(folder: Path, files: Mapping[str, str] | None = None) -> Path:
    """Write the archive of a root that holds a static busybox, 2 MB, and return it.

    Args:
        folder: Where to.
        files: Text of further programs by path.
    """
    archive = folder / "busybox.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(program("busybox"), "bin/busybox")
        for name in ("sh", "cat", "ls", "echo", "sleep", "true", "false", "env"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, text in (files or {}).items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
    return archive


if __name__ == "__main__":
    print(python_root())
