"""Images that a Docker engine builds.

Owns the order of the work: the environment, the flows on top of it, the checks inside, the names,
the registry. Invariant: an image gets the name that finds it by its inputs only after it passed
the checks, and in the registry only after it is there as a whole.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from casflow.digests import digest_of, hex_of
from casflow.errors import ConfigError, NotFoundError
from casflow.storage.docker.context import DOCKERFILE, Context
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.recipe import python_version
from casflow.storage.docker.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.storage.docker.engine import Engine
    from casflow.storage.docker.plan import Plan
    from casflow.storage.docker.recipe import Recipe

logger = logging.getLogger(__name__)

_LAYER = "flows.tar"
_ENVIRONMENTS = "casflow/environment"  # kept in the engine, so that the next flow finds it
_SHORT = 32
_CHECK = ("python", "-m", "casflow.storage.docker.check")


class EngineBuilder:
    """Builds with an engine.

    Args:
        engine: The engine.
        recipe: What the environment is made of.
        options: Parameters of the SDK's build.
        local_image: Whether the base image is the engine's own and is not looked for elsewhere.
        check: Whether the image is checked from within.
        push: Whether the image goes to its registry.
    """

    def __init__(
        self,
        engine: Engine,
        recipe: Recipe,
        options: Mapping[str, Any],
        *,
        local_image: bool,
        check: bool,
        push: bool,
    ) -> None:
        self._engine = engine
        self._recipe = recipe
        self._options = dict(options)
        self._local_image = local_image
        self._check = check
        self._push = push
        self._bases: dict[str, str] = {}
        self._context = Context()

    def environment(self) -> str:
        """Return the digest of what the environment is made of, its base images as they are now.

        Raises:
            NotFoundError: There is no such base image.
        """
        bases = {name: self._resolve(name) for name in self._recipe.bases()}
        self._bases = {} if self._local_image else bases
        self._context = self._recipe.context(self._bases)
        parts = [self._context.digest(), bases, self._arguments(), self._options.get("target")]
        return digest_of(json.dumps(parts, sort_keys=True).encode())

    def build(self, plan: Plan) -> ImageName:
        """Build an image, check it and name it; return its exact name."""
        input_name = plan.input_name
        if self._engine.find_image(str(input_name)) is None:
            self._make(plan, input_name)
        self._engine.tag(str(input_name), plan.name)
        if not self._push:
            return plan.name
        digest = self._engine.push(plan.name)
        self._engine.push(input_name)
        return plan.name.at(digest)

    def _resolve(self, base: str) -> str:
        """Return what a base image is now: its manifest's digest, or its id in the engine."""
        if not self._local_image:
            name = ImageName.parse(base)
            return name.at(Registry(name.api_host).get_manifest(name).digest).pinned
        image = self._engine.find_image(base)
        if image is None:
            raise NotFoundError("the base image is not in the Docker engine", where=base)
        return image.id

    def _make(self, plan: Plan, input_name: ImageName) -> None:
        environment = self._environment(plan.environment)
        image = self._with_flows(environment, plan)
        try:
            if self._check:
                self._verify(image, plan)
            self._engine.tag(image, input_name)
        except BaseException:
            self._engine.remove_image(image)
            raise

    def _environment(self, digest: str) -> str:
        """Return the environment as the engine has it, built if it does not."""
        name = f"{_ENVIRONMENTS}:{hex_of(digest)[:_SHORT]}"
        if self._engine.find_image(name) is None:
            for base in self._bases.values():
                if self._engine.find_image(base) is None:
                    self._engine.pull(base)
            options = {**self._options, "buildargs": self._arguments()}
            with self._context.open() as archive:
                self._engine.build(archive, DOCKERFILE, tag=name, **options)
        return name

    def _with_flows(self, environment: str, plan: Plan) -> str:
        text = f"FROM {environment}\nADD {_LAYER} /\n"
        context = Context({"Dockerfile": text.encode(), _LAYER: plan.layer()})
        with context.open() as archive:
            return self._engine.build(archive, "Dockerfile", labels=plan.labels())

    def _verify(self, image: str, plan: Plan) -> None:
        network = str(self._options.get("network_mode", "none"))
        forms = [json.dumps(each.to_dict()) for each in plan.references.values()]
        command = [*_CHECK, plan.directory, python_version(), *forms]
        code, output = self._engine.run(image, command, network=network)
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        if code != 0:
            what = f"Your docker image failed to build! {lines[-1] if lines else 'no output'}"
            raise ConfigError(what, where=plan.name, hint="a health check inside the image failed")
        for line in lines:
            logger.warning("health check of %s: %s", plan.name, line)

    def _arguments(self) -> dict[str, str]:
        return {**self._options.get("buildargs", {}), **self._recipe.arguments()}
