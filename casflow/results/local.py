"""Results in a local folder.

Owns where that folder is. Invariant: a result without a folder of its own follows the home of the
process that uses it, so nothing of this machine is pickled with a flow.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow import config
from casflow.blobs.local import LocalBlobStore
from casflow.errors import ConfigError
from casflow.results.store import StoreResult

if TYPE_CHECKING:
    from os import PathLike

    from casflow.blobs.base import BlobStore


class LocalResult(StoreResult):
    """A result in a file.

    Args:
        dir: The folder; `<home>/results` when left out, and for any other folder of the home.
        validate_dir: Whether to expand `~` and make the folder absolute.
        **options: `location`, below the folder, `serializer` and `value`.
    """

    def __init__(
        self,
        dir: str | PathLike[str] | None = None,  # noqa: A002 - the original's name
        validate_dir: bool = True,  # noqa: FBT001, FBT002 - the original's signature
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._dir = None if dir is None else os.fspath(dir)
        if self._dir is not None and validate_dir:
            self._dir = str(Path(self._dir).expanduser().absolute())

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_dir": _portable_folder(self._dir)}

    @property
    def dir(self) -> str:
        """The folder."""
        chosen = _portable_folder(self._dir)
        return str(config.load().results_dir) if chosen is None else chosen

    def _open(self) -> BlobStore:
        return LocalBlobStore(Path(self.dir))

    def _key(self, location: str) -> str:
        path = Path(location)
        if not path.is_absolute():
            return location
        try:
            return path.relative_to(Path(self.dir).absolute()).as_posix()
        except ValueError as error:
            raise ConfigError(
                "the location is outside of the result's folder", where=location, hint=self.dir
            ) from error

    def _location(self, key: str) -> str:
        return str(Path(self.dir).absolute() / key)


def _portable_folder(folder: str | None) -> str | None:
    """Return a folder, or None for one of the home that is not for results."""
    settings = config.load()
    if folder is None or not Path(folder).is_relative_to(settings.home):
        return folder
    return folder if Path(folder).is_relative_to(settings.results_dir) else None
