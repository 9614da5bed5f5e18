"""Images whose environment a Docker engine builds.

Owns the order of the work: the environment, the check inside it, the flows on top of it, the
names. Invariant: an environment gets the name that finds it only after flows were loaded in it;
in a registry it is built once, and a changed flow is one layer that is sent without the engine.
"""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from casflow.digests import digest_of, hex_of
from casflow.errors import ConfigError, NotFoundError
from casflow.storage.docker.assemble import Base, publish
from casflow.storage.docker.context import DOCKERFILE, Context
from casflow.storage.docker.dockerfile import buildkit_only
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.recipe import python_version, read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from casflow.storage.docker.engine import Engine
    from casflow.storage.docker.image_store import RegistryImageStore
    from casflow.storage.docker.plan import Plan
    from casflow.storage.docker.recipe import Recipe
    from casflow.storage.docker.registry import Registry

logger = logging.getLogger(__name__)

_LAYER = "flows.tar"
ENVIRONMENTS = "casflow/environment"  # kept in the engine, so that the next flow finds it
_SHORT = 32
_CHECK = ("python", "-m", "casflow.storage.docker.check")


class EngineBuilder:
    """Builds with an engine.

    Args:
        engine: The engine.
        recipe: What the environment is made of.
        options: Parameters of the SDK's build.
        open_registry: Opens the registry of an image.
        store: Where the image goes; None if it stays in the engine.
        local_image: Whether the base image is the engine's own and is not looked for elsewhere.
        check: Whether the image is checked from within.
    """

    def __init__(
        self,
        engine: Engine,
        recipe: Recipe,
        options: Mapping[str, Any],
        open_registry: Callable[[ImageName], Registry],
        store: RegistryImageStore | None,
        *,
        local_image: bool,
        check: bool,
    ) -> None:
        self._engine = engine
        self._recipe = recipe
        self._options = dict(options)
        self._open_registry = open_registry
        self._store = store
        self._local_image = local_image
        self._check = check
        self._start = "the user's Dockerfile"

    @cached_property
    def environment(self) -> str:
        """The digest of what the environment is made of, its base images as they are now.

        Raises:
            NotFoundError: There is no such base image.
        """
        found = self._recipe.inputs(self._options.get("buildargs", {}))
        bases = {name: self._resolve(name) for name in found.images}
        parts: list[Any] = [bases, self._arguments(), self._options.get("target")]
        if self._recipe.dockerfile is None:
            (self._start,) = found.images if self._local_image else bases.values()
        else:
            context, name = self._recipe.own_context()
            parts += [context.digest(), name]
        if found.unresolved:
            logger.warning("built each time, for its inputs are not known: %s", found.unresolved[0])
            parts.append(uuid4().hex)
        parts.append(self._recipe.context(self._start).digest())
        return digest_of(json.dumps(parts, sort_keys=True).encode())

    def read_script(self, path: str) -> bytes:
        """Return a script of the environment, which is built if the engine does not have it.

        Raises:
            NotFoundError: It is not in there.
        """
        name, found = str(environment_name(self.environment)), BytesIO()
        is_there = self._engine.find_image(name) is not None
        try:
            self._engine.read_file(name if is_there else self._build_environment(), path, found)
        except NotFoundError as error:
            hint = "copy it there by the Dockerfile or `files`, or name it as `local_script_path`"
            raise NotFoundError("no such script in the image", where=path, hint=hint) from error
        return found.getvalue()

    def build(self, plan: Plan) -> ImageName:
        """Build an image, check it and name it; return its exact name.

        Raises:
            ConfigError: A step or the check inside failed.
            UnavailableError: The engine or the registry went away.
        """
        if self._store is not None:
            base = self._pushed_environment(self._store, plan)
            return publish(self._store, base, [plan.layer()], plan, {})
        image = self._with_flows(self._environment(plan), plan)
        try:
            if self._check:
                self._verify(image, plan)
            self._engine.tag(image, plan.input_name)
        except BaseException:
            self._engine.remove_image(image)
            raise
        for name in plan.names:
            self._engine.tag(image, name)
        return plan.name

    def _resolve(self, base: str) -> str:
        """Return what a base image is now: its manifest's digest, or its id in the engine."""
        if not self._local_image:
            name = ImageName.parse(base)
            return name.at(self._open_registry(name).get_manifest(name).digest).pinned
        image = self._engine.find_image(base)
        if image is None:
            raise NotFoundError("the base image is not in the Docker engine", where=base)
        return image.id

    def _pushed_environment(self, store: RegistryImageStore, plan: Plan) -> Base:
        """Return the environment as the registry has it, built and pushed if it does not."""
        name = plan.name.tagged(f"environment-{_short(plan.environment)}")
        manifest = store.registry.find_manifest(name)
        if manifest is None:
            self._engine.tag(self._environment(plan), name)
            try:
                self._engine.push(name)
            finally:
                self._engine.remove_image(str(name))
            manifest = store.registry.get_manifest(name)
        return Base.read(store.registry, name, manifest)

    def _environment(self, plan: Plan) -> str:
        """Return the environment as the engine has it, built and checked if it does not."""
        name = environment_name(plan.environment)
        if self._engine.find_image(str(name)) is None:
            image = self._build_environment()
            try:
                if self._check and self._store is not None:
                    self._verify(image, plan, plan.layer())
                self._engine.tag(image, name)
            except BaseException:
                self._engine.remove_image(image)
                raise
        return str(name)

    def _build_environment(self) -> str:
        arguments = self._arguments()
        own = {key: each for key, each in self._options.items() if key != "target"}
        with self._started() as start:
            user = self._engine.user_of(start)
            context = self._recipe.context(start, user)
            options = {**own, "buildargs": arguments}
            with context.open() as archive:
                return self._engine.build(archive, DOCKERFILE, **options)

    @contextmanager
    def _started(self) -> Iterator[str]:
        """Give the name of the image to start from, which the engine has then."""
        if self._recipe.dockerfile is None:
            if not self._local_image and self._engine.find_image(self._start) is None:
                self._engine.pull(self._start)
            yield self._start
            return
        context, name = self._recipe.own_context()
        options = {"pull": not self._local_image, **self._options}
        try:
            with context.open() as archive:
                image = self._engine.build(archive, name, **options)
        except ConfigError as error:
            line = buildkit_only(read_text(self._recipe.dockerfile))
            if line is None:
                raise
            hint = "build that image by `docker build`, and name it as base_image"
            raise ConfigError(f"{error}; only BuildKit knows {line!r}", hint=hint) from error
        start = ImageName.parse(f"casflow/start:{uuid4().hex}")
        self._engine.tag(image, start)
        try:
            yield str(start)
        finally:
            self._engine.remove_image(str(start))

    def _with_flows(self, environment: str, plan: Plan) -> str:
        text = f"FROM {environment}\nADD {_LAYER} /\n"
        context = Context()
        context.add_bytes("Dockerfile", text.encode())
        context.add_bytes(_LAYER, plan.layer())
        with context.open() as archive:
            return self._engine.build(archive, "Dockerfile", labels=plan.labels())

    def _verify(self, image: str, plan: Plan, archive: bytes | None = None) -> None:
        """Load all flows in a container of an image.

        Args:
            image: The image.
            plan: What the flows are.
            archive: The layer of the flows, if the image is without it.
        """
        network = str(self._options.get("network_mode", "none"))
        forms = [json.dumps(each.to_dict()) for each in plan.references.values()]
        command = [*_CHECK, plan.directory, python_version(), *forms]
        code, output = self._engine.run(image, command, network=network, archive=archive)
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        if code != 0:
            what = f"Your docker image failed to build! {lines[-1] if lines else 'no output'}"
            raise ConfigError(what, where=plan.name, hint="a health check inside the image failed")
        for line in lines:
            logger.warning("health check of %s: %s", plan.name, line)

    def _arguments(self) -> dict[str, str]:
        return {**self._options.get("buildargs", {}), **self._recipe.arguments()}


def environment_name(digest: str) -> ImageName:
    """Return the name in an engine of an environment."""
    return ImageName.parse(f"{ENVIRONMENTS}:{_short(digest)}")


def _short(digest: str) -> str:
    return hex_of(digest)[:_SHORT]
