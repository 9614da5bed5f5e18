"""Where built images are kept: in a registry, or in the engine alone.

Owns the question whether an image is there already. Invariant: an image that is there is never
built or sent again; it gets a further name at most, and within `DEADLINE` of the moment at which
it was not condemned.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from casflow.blobs.content import DEADLINE, boottime
from casflow.errors import NotFoundError
from casflow.storage.docker.markers import is_condemned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.storage.docker.engine import Engine
    from casflow.storage.docker.names import ImageName
    from casflow.storage.docker.registry import Manifest, Registry


class ImageStore(ABC):
    """Built images, by name."""

    @abstractmethod
    def find(self, name: ImageName) -> ImageName | None:
        """Return the exact name of an image that stands here, or None."""

    @abstractmethod
    def add_name(self, found: ImageName, name: ImageName) -> ImageName:
        """Give an image a further name; return that exactly."""

    def reuse(self, name: ImageName, other: ImageName) -> ImageName | None:
        """Give an image that is to stay another name, and return that; None if there is none."""
        found = self.find(name)
        return None if found is None else self.add_name(found, other)

    @abstractmethod
    def labels(self, name: ImageName) -> Mapping[str, str]:
        """Return the labels of an image.

        Raises:
            NotFoundError: There is no such image.
        """


class RegistryImageStore(ImageStore):
    """Images in a registry, named by their manifest's digest."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def find(self, name: ImageName) -> ImageName | None:
        """Ask the registry for the manifest."""
        manifest = self.registry.find_manifest(name)
        return None if manifest is None else name.at(manifest.digest)

    def add_name(self, found: ImageName, name: ImageName) -> ImageName:
        """Put the same manifest under another tag."""
        manifest = self.registry.get_manifest(found)
        self.registry.put_manifest(name, manifest)
        return name.at(manifest.digest)

    def reuse(self, name: ImageName, other: ImageName) -> ImageName | None:
        """Give an image another name, unless it is condemned; in time, or look again."""
        started = boottime()
        found = self.find(name)
        if found is None or is_condemned(self.registry.tags(found), str(found.digest)):
            return None
        named = self.add_name(found, other)
        return named if boottime() - started <= DEADLINE else self.reuse(name, other)

    def labels(self, name: ImageName) -> Mapping[str, str]:
        """Read the image's configuration."""
        config = config_of(self.registry, name, self.registry.get_manifest(name))
        return (config.get("config") or {}).get("Labels") or {}


class EngineImageStore(ImageStore):
    """Images of one engine, named by their tag."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def find(self, name: ImageName) -> ImageName | None:
        """Ask the engine for the image."""
        return None if self.engine.find_image(str(name)) is None else name

    def add_name(self, found: ImageName, name: ImageName) -> ImageName:
        """Add a tag."""
        self.engine.tag(str(found), name)
        return name

    def labels(self, name: ImageName) -> Mapping[str, str]:
        """Ask the engine for the image's configuration."""
        image = self.engine.find_image(str(name))
        if image is None:
            raise NotFoundError("the Docker engine does not have the image", where=name)
        return image.labels


def config_of(registry: Registry, name: ImageName, manifest: Manifest) -> dict[str, Any]:
    """Return an image's configuration."""
    data = registry.get_blob(name, manifest.form["config"])
    found: dict[str, Any] = json.loads(data)
    return found
