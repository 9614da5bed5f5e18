"""Where the bytes of a flow come from: this container, the registry, the engine, in that order.

Owns reading a flow's layer. Invariant: never more is read than the manifest and the layer of the
flows; the image is not pulled and nothing of it is run.
"""

from __future__ import annotations

import logging
import shutil
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from casflow.digests import digest_of_file
from casflow.errors import CasflowError, IntegrityError, NotFoundError
from casflow.storage.docker.layer import extract, path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from casflow.storage.docker.engine import Engine
    from casflow.storage.docker.names import ImageName
    from casflow.storage.docker.registry import Registry

logger = logging.getLogger(__name__)


class Sources:
    """The places that may have the flows of one image.

    Args:
        image: Its exact name.
        directory: Folder of casflow's own files in it.
        engine: The engine that may have it.
        registry: Opens the registry that has it; None for an image that was never pushed.
    """

    def __init__(
        self,
        image: ImageName,
        directory: str,
        engine: Engine,
        registry: Callable[[], Registry] | None,
    ) -> None:
        self.image = image
        self._directory = directory
        self._engine = engine
        self._registry = registry
        self._layer: bytes | None = None

    def copy_to(self, digest: str, target: BinaryIO) -> str:
        """Write a blob, not verified yet, to a file; return where it came from.

        Raises:
            CasflowError: No place has it; it is the registry's reason, if there is one.
        """
        path = path_of(self._directory, digest)
        if _is_here(path, digest):
            with Path(path).open("rb") as file:
                shutil.copyfileobj(file, target)
            return path
        if self._registry is None:
            return self._from_engine(path, target)
        try:
            return self._from_registry(self._registry(), path, target)
        except CasflowError as error:
            # An engine has to make a container to read from, so it is only asked instead.
            try:
                return self._from_engine(path, target)
            except CasflowError as other:
                logger.debug("not read from the Docker engine either: %s", other)
            raise error from None

    def _from_engine(self, path: str, target: BinaryIO) -> str:
        name = self.image.pinned
        if self._engine.find_image(name) is None:
            hint = "it was never pushed; build it on this machine"
            raise NotFoundError("the Docker engine does not have the image", where=name, hint=hint)
        memory = BytesIO()  # so that a broken answer leaves nothing in the target
        self._engine.read_file(name, path, memory)
        target.write(memory.getbuffer())
        return f"{name}:{path}"

    def _from_registry(self, registry: Registry, path: str, target: BinaryIO) -> str:
        if self._layer is None:
            self._layer = self._download(registry)
        where = str(self.image)
        extract(BytesIO(self._layer), path, target, where=where)
        return where

    def _download(self, registry: Registry) -> bytes:
        manifest = registry.get_manifest(self.image)
        if not manifest.layers:
            raise IntegrityError("the image has no layers", where=self.image)
        return registry.get_blob(self.image, manifest.layers[-1])


def _is_here(path: str, digest: str) -> bool:
    """Tell whether this machine's own file, as in a container of the image, is the right one."""
    try:
        return digest_of_file(Path(path)) == digest
    except OSError:
        return False
