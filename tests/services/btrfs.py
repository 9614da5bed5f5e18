"""A file system that shares extents between files, in a file of its own."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.services.presence import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 400 * 2**20  # most of it is never written


@contextmanager
def btrfs(folder: Path) -> Iterator[Path]:
    """Mount a new btrfs below a folder, for root; return where it is.

    Raises:
        OSError: It cannot be made or mounted here.
    """
    image, place = folder / "btrfs.image", folder / "btrfs"
    with image.open("wb") as file:
        file.truncate(SIZE)
    place.mkdir()
    _run("mkfs.btrfs", "-q", image)
    _run("mount", "-o", "loop", image, place)
    try:
        yield place
    finally:
        _run("umount", "-l", place)  # a checkout is held as long as this process lives


def _run(program: str, *arguments: str | Path) -> None:
    command = [find_program(program) or program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.returncode, f"{program}: {done.stderr.strip()}")
