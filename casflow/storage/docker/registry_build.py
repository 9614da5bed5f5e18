"""Images that are put together in the registry, without an engine.

Owns the choice and the check of the base image. Invariant: nothing is run, so a base image is
taken only if its configuration says that flows can run in it.
"""

from __future__ import annotations

import json
import platform
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow.digests import digest_of
from casflow.errors import ConfigError
from casflow.storage.docker.assemble import Base, publish
from casflow.storage.docker.context import Context, Entry
from casflow.storage.docker.layer import pack_tree
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.recipe import PYTHON_LABEL, python_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from casflow.storage.docker.image_store import RegistryImageStore
    from casflow.storage.docker.plan import Plan
    from casflow.storage.docker.recipe import Recipe
    from casflow.storage.docker.registry import Manifest, Registry

_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}


class RegistryBuilder:
    """Builds in a registry.

    Args:
        store: Where the image goes.
        recipe: What the environment is made of; nothing of it may need to be run.
        open_registry: Opens the registry of an image.
        machine: Architecture of the image, as `amd64`; this machine's when left out.
        check: Whether the base image's configuration is checked.
        any_python: Whether flows are scripts, which load in every Python.
    """

    def __init__(
        self,
        store: RegistryImageStore,
        recipe: Recipe,
        open_registry: Callable[[ImageName], Registry],
        *,
        machine: str | None = None,
        check: bool = True,
        any_python: bool = False,
    ) -> None:
        _check_recipe(recipe)
        self._store = store
        self._recipe = recipe
        self._name = ImageName.parse(str(recipe.base_image))
        same = self._name.api_host == store.registry.host
        self._source = store.registry if same else open_registry(self._name)
        self._machine = machine or _MACHINES.get(platform.machine(), platform.machine())
        self._check = check
        self._any_python = any_python

    @cached_property
    def manifest(self) -> Manifest:
        """Manifest of the base image for the wanted architecture."""
        manifest = self._source.get_manifest(self._name)
        if manifest.is_index:
            chosen = self._name.at(self._choose(manifest))
            manifest = self._source.get_manifest(chosen)
        return manifest

    @cached_property
    def environment(self) -> str:
        """The digest of what the environment is made of."""
        files = pack_tree(self._files())
        parts = [self.manifest.digest, dict(self._recipe.variables), digest_of(files)]
        return digest_of(json.dumps(parts, sort_keys=True).encode())

    def read_script(self, path: str) -> bytes:
        """Refuse: no image is read for one script.

        Raises:
            ConfigError: Always.
        """
        hint = "name it in `files` or as `local_script_path`, or let an engine build the image"
        raise ConfigError("the flow's script is not known here", where=path, hint=hint)

    def build(self, plan: Plan) -> ImageName:
        """Put an image together in the registry; return its exact name.

        Raises:
            ConfigError: Flows cannot run in the base image.
        """
        base = Base.read(self._source, self._name, self.manifest)
        if self._check:
            self._check_base(base.config)
        archives = [pack_tree(self._files())] if self._recipe.files else []
        return publish(self._store, base, [*archives, plan.layer()], plan, self._recipe.variables)

    def _files(self) -> dict[str, Entry]:
        """Return what `files` asks for, by path in the image, as an engine would copy it."""
        context = Context()
        for source, target in self._recipe.files.items():
            path = target.rstrip("/")
            if target.endswith("/") and not Path(source).is_dir():
                path = target + Path(source).name
            context.add(path, Path(source))
        return context.entries

    def _choose(self, index: Manifest) -> str:
        """Return the digest of the manifest for Linux on the wanted architecture."""
        for each in index.form.get("manifests", ()):
            kind = each.get("platform", {})
            if kind.get("os") == "linux" and kind.get("architecture") == self._machine:
                return str(each["digest"])
        raise ConfigError(f"the base image is not for linux/{self._machine}", where=self._name)

    def _check_base(self, config: Any) -> None:
        kind = (config.get("os", "linux"), config.get("architecture", self._machine))
        if kind != ("linux", self._machine):
            what = f"the base image is for {'/'.join(kind)}, not for linux/{self._machine}"
            hint = "name the architecture in build_kwargs={'platform': 'linux/...'}"
            raise ConfigError(what, where=self._name, hint=hint)
        python = ((config.get("config") or {}).get("Labels") or {}).get(PYTHON_LABEL)
        if python is None:
            what = "the base image does not say that casflow is in it"
            hint = (
                f"build it by casflow, label it {PYTHON_LABEL}={python_version()}, or give "
                "ignore_healthchecks=True"
            )
            raise ConfigError(what, where=self._name, hint=hint)
        if python != python_version() and not self._any_python:
            what = f"the base image has Python {python}, the flow is pickled by {python_version()}"
            raise ConfigError(what, where=self._name, hint="use the same minor version")


def _check_recipe(recipe: Recipe) -> None:
    asked = {
        "dockerfile": recipe.dockerfile,
        "python_dependencies": recipe.dependencies,
        "extra_dockerfile_commands": recipe.commands,
        "casflow_version": recipe.casflow_version,
    }
    for name, value in asked.items():
        if value:
            hint = "put it into the base image, or leave builder out"
            raise ConfigError(
                f"{name} needs a Docker engine", where="builder='registry'", hint=hint
            )
