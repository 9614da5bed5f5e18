"""Flows in a folder of this machine.

Owns the way from `Local`'s parameters to a folder and a script. Invariant: a location is the path
of a reference below the folder; the script that a flow was registered from is never read again.
"""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow import config
from casflow.blobs.local import LocalBlobStore
from casflow.config import make_folder
from casflow.errors import NotFoundError, os_errors
from casflow.storage.blob import BlobStorage

if TYPE_CHECKING:
    from casflow.flow import Flow
    from casflow.results import Result


class Local(BlobStorage):
    """Flows in a folder, `<home>/flows` by default, at `<folder>/<slug>/<timestamp>`.

    Args:
        directory: The folder.
        validate: Whether the folder's path is made absolute and the folder is made.
        path: With `stored_as_script`, the script or the dotted module that makes the flow; else
            the exact file that shall hold the flow's reference.
        stored_as_script: Whether the script is stored instead of a pickle.
        options: What every storage takes.
    """

    fields = ("directory", "path", "stored_as_script")
    concurrent_downloads = False

    def __init__(
        self,
        directory: str | Path | None = None,
        validate: bool = True,  # noqa: FBT001, FBT002 - the original's signature
        path: str | Path | None = None,
        stored_as_script: bool = False,  # noqa: FBT001, FBT002
        **options: Any,
    ) -> None:
        named = None if path is None or stored_as_script else Path(path).expanduser().absolute()
        folder = directory or (config.load().flows_dir if named is None else named.parent)
        self._validated = validate
        self.directory = _made(folder) if validate else str(folder)
        key = None if named is None else named.relative_to(self.directory).as_posix()
        super().__init__(key=key, stored_as_script=stored_as_script, **options)
        self.path = None if path is None else str(path)

    def open_store(self) -> LocalBlobStore:
        """Return the folder as a blob store."""
        return LocalBlobStore(Path(self.directory))

    def location_of(self, key: str) -> str:
        """Return the path of a key."""
        return str(Path(self.directory) / key)

    def key_of(self, location: str) -> str:
        """Return the key of a path."""
        return Path(location).relative_to(self.directory).as_posix()

    def script_path(self) -> Path | None:
        """Return the script, also when it was named as a module."""
        if self.path is None:
            return None
        path = Path(self.path).expanduser().absolute()
        return path if path.exists() else _module_file(self.path) or path

    def store_script(self, path: Path) -> None:
        """Store the bytes of a script from now on; one that was named already stays."""
        if not self.stored_as_script:
            self.stored_as_script, self.path = True, str(path)

    def suggest_script(self, path: Path) -> None:
        """Take the script that makes the flows, where none was named."""
        if self.stored_as_script and self.path is None:
            self.path = str(path)

    def no_script_text(self) -> str:
        """Return what to say when a script shall be stored and none is named."""
        return "A `path` must be provided to show where flow `.py` file is stored."

    def add_flow(self, flow: Flow) -> str:
        """Take a flow in and store it at once.

        Returns:
            The path of its reference.
        """
        name = self.add(flow)
        self.store(flow, tuple(self.labels), None)
        return self.flows[name]

    @property
    def default_labels(self) -> list[str]:
        """This machine's name, so that only its agents run the flow."""
        return [socket.gethostname()]

    @property
    def result(self) -> Result | None:
        """Results go to the same folder, or to `<home>/results` for a folder below the home."""
        if self._result is None:
            from casflow.results import LocalResult

            self._result = LocalResult(self.directory, validate_dir=self._validated)
        return self._result

    @classmethod
    def _restore_options(cls) -> dict[str, Any]:
        return {"validate": False}


def _made(folder: str | Path) -> str:
    path = Path(folder).expanduser().absolute()
    with os_errors(path):
        make_folder(path, private=False)
    return str(path)


def _module_file(name: str) -> Path | None:
    """Return the file of a dotted module such as `a.b` or `a.b:flow`."""
    module = name.partition(":")[0]
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError as error:
        raise NotFoundError("no such file or module", where=name) from error
    return Path(spec.origin) if spec is not None and spec.origin else None
