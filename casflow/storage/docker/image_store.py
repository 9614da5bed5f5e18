"""Where built images are kept: in a registry, or in the engine alone.

Owns the writer's side of the protocol with `casflow gc`: which image may get a further name.
Invariant: whoever names an image that is there already has seen, within `DEADLINE` before, that
it was not condemned; every registration puts a tag of its own on its image, which nobody moves.
An image that is not condemned is never built or sent again.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from casflow import http
from casflow.blobs.content import DEADLINE, boottime
from casflow.errors import IntegrityError, NotFoundError
from casflow.storage.docker.markers import marker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from casflow.storage.docker.engine import Engine
    from casflow.storage.docker.names import ImageName
    from casflow.storage.docker.plan import Plan
    from casflow.storage.docker.registry import Manifest, Registry


class ImageStore(ABC):
    """Built images, by name."""

    @abstractmethod
    def find(self, name: ImageName) -> ImageName | None:
        """Return the exact name of an image that is here, or None."""

    @abstractmethod
    def reuse(self, plan: Plan) -> ImageName | None:
        """Give an image of a plan's inputs the plan's names; return None if it must be built."""

    @abstractmethod
    def labels(self, name: ImageName) -> Mapping[str, str]:
        """Return the labels of an image.

        Raises:
            NotFoundError: There is no such image.
        """

    def ensure(
        self, plan: Plan, known: Iterable[ImageName], build: Callable[[Plan], ImageName]
    ) -> tuple[ImageName, bool]:
        """Return the exact name of a plan's image, and whether it had to be built.

        Args:
            plan: What is wanted.
            known: Images of the same inputs that an earlier registration named.
            build: Builds it.
        """
        for image in known:
            wanted = plan.name if plan.is_chosen else replace(plan.name, tag=image.tag)
            if image.tagged() == wanted and self.find(image) is not None:
                return image, False
        shared = self.reuse(plan)
        return (build(plan), True) if shared is None else (shared, False)


class RegistryImageStore(ImageStore):
    """Images in a registry, named by their manifest's digest.

    Args:
        registry: The registry.
        clock: Seconds on a clock that also counts while the machine sleeps.
    """

    def __init__(self, registry: Registry, clock: Callable[[], float] = boottime) -> None:
        self.registry = registry
        self._clock = clock

    def find(self, name: ImageName) -> ImageName | None:
        """Ask the registry for the manifest."""
        manifest = self.registry.find_manifest(name)
        return None if manifest is None else name.at(manifest.digest)

    def reuse(self, plan: Plan) -> ImageName | None:
        """Give an image of the plan's inputs further names, unless it is condemned.

        Too late after the look at the marker, it looks again: a name that was given too late may
        go with the image, and is then given to another one.
        """
        while True:
            started = self._clock()
            manifest = self.registry.find_manifest(plan.input_name)
            if manifest is None or self._is_condemned(plan.name, manifest):
                return None
            for name in plan.names:
                self.registry.put_manifest(name, manifest)
            if not self._is_past_deadline(started):
                return plan.name.at(manifest.digest)

    def commit(self, manifest: Manifest, plan: Plan) -> ImageName:
        """Give an image that was just built its names; return the exact one.

        Its digest is its own, so it cannot have been condemned.
        """
        for name in (*plan.names, plan.input_name):
            self.registry.put_manifest(name, manifest)
        return plan.name.at(manifest.digest)

    def _is_condemned(self, name: ImageName, manifest: Manifest) -> bool:
        return self.registry.find_manifest(name.tagged(marker(manifest.digest))) is not None

    def _is_past_deadline(self, started: float) -> bool:
        return self._clock() - started > DEADLINE

    def labels(self, name: ImageName) -> Mapping[str, str]:
        """Read the image's configuration."""
        config = config_of(self.registry, name, self.registry.get_manifest(name))
        return (config.get("config") or {}).get("Labels") or {}


class EngineImageStore(ImageStore):
    """Images of one engine, named by their tag.

    A collector takes its names from an image one by one, so a new name keeps a condemned image.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def find(self, name: ImageName) -> ImageName | None:
        """Ask the engine for the image."""
        return None if self.engine.find_image(str(name)) is None else name

    def reuse(self, plan: Plan) -> ImageName | None:
        """Add tags to an image of the plan's inputs; it may be collected at any moment."""
        try:
            for name in plan.names:
                self.engine.tag(str(plan.input_name), name)
        except NotFoundError:
            return None
        return plan.name

    def labels(self, name: ImageName) -> Mapping[str, str]:
        """Ask the engine for the image's configuration."""
        image = self.engine.find_image(str(name))
        if image is None:
            raise NotFoundError("the Docker engine does not have the image", where=name)
        return image.labels


def config_of(registry: Registry, name: ImageName, manifest: Manifest) -> dict[str, Any]:
    """Return an image's configuration; IntegrityError when it is none."""
    described = http.member(manifest.form, "config", dict, where=str(name))
    data = registry.get_blob(name, described)
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise IntegrityError("the image's configuration is not a JSON object", where=str(name))
    return found
