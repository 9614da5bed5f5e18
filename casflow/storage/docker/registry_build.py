"""Images that are put together in the registry, without an engine.

Owns the way from a base image's manifest to ours: its layers, then the user's files, then the
flows. Invariant: the flow layer is byte for byte the one that an engine makes; every blob is there
before a manifest names it.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow.digests import digest_of
from casflow.errors import ConfigError, IntegrityError, os_errors
from casflow.storage.docker.image_store import config_of
from casflow.storage.docker.layer import compress, pack, sha256
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.registry import (
    DOCKER_MANIFEST,
    Manifest,
    Registry,
)

if TYPE_CHECKING:
    from casflow.storage.docker.plan import Plan
    from casflow.storage.docker.recipe import Recipe

_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}
_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_EPOCH = "1970-01-01T00:00:00Z"


class RegistryBuilder:
    """Builds in a registry.

    Args:
        registry: The registry that the image goes to.
        recipe: What the environment is made of; nothing of it may need to be run.
    """

    def __init__(self, registry: Registry, recipe: Recipe) -> None:
        _check(recipe)
        self._registry = registry
        self._recipe = recipe
        self._base = ImageName.parse(str(recipe.base_image))
        same = self._base.api_host == registry.host
        self._source = registry if same else Registry(self._base.api_host)
        self._manifest: Manifest | None = None

    @property
    def manifest(self) -> Manifest:
        """Manifest of the base image for this machine's kind, read once."""
        if self._manifest is None:
            manifest = self._source.get_manifest(self._base)
            if manifest.is_index:
                chosen = self._base.at(_choose(manifest, self._base))
                manifest = self._source.get_manifest(chosen)
            self._manifest = manifest
        return self._manifest

    def environment(self) -> str:
        """Return the digest of what the environment is made of."""
        files = pack(self._files())
        parts = [self.manifest.digest, dict(self._recipe.variables), digest_of(files)]
        return digest_of(json.dumps(parts, sort_keys=True).encode())

    def build(self, plan: Plan) -> ImageName:
        """Put an image together in the registry; return its exact name."""
        archives = [pack(self._files())] if self._recipe.files else []
        archives.append(plan.layer())
        self._copy_base(plan.name)
        layers = [self._put(plan.name, compress(each)) for each in archives]
        config = _config(self._base_config(), archives, self._recipe, plan)
        manifest = self._assemble(self._put(plan.name, config), layers)
        self._registry.put_manifest(plan.name, manifest)
        self._registry.put_manifest(plan.input_name, manifest)
        return plan.name.at(manifest.digest)

    def _files(self) -> dict[str, bytes]:
        found = {}
        for source, target in self._recipe.files.items():
            path = target + Path(source).name if target.endswith("/") else target
            with os_errors(source):
                found[path] = Path(source).read_bytes()
        return found

    def _base_config(self) -> dict[str, Any]:
        return config_of(self._source, self._base, self.manifest)

    def _copy_base(self, name: ImageName) -> None:
        """Let the base image's layers be in our repository; nothing is sent that is there."""
        for layer in self.manifest.layers:
            digest = str(layer["digest"])
            if self._registry.has_blob(name, digest):
                continue
            same = self._source is self._registry
            if same and self._registry.mount_blob(name, digest, self._base):
                continue
            with self._source.open_blob(self._base, layer) as file:
                self._registry.put_blob(name, file, digest)

    def _put(self, name: ImageName, data: bytes) -> dict[str, Any]:
        digest = sha256(data)
        self._registry.put_blob(name, data, digest)
        return {"size": len(data), "digest": digest}

    def _assemble(self, config: dict[str, Any], layers: list[dict[str, Any]]) -> Manifest:
        """Return the manifest, in the dialect of the base image's."""
        form = self.manifest.form
        kind = _DOCKER_LAYER if self.manifest.media_type == DOCKER_MANIFEST else _OCI_LAYER
        form["config"] = {"mediaType": form["config"]["mediaType"], **config}
        form["layers"] = [*form["layers"], *({"mediaType": kind, **each} for each in layers)]
        data = json.dumps(form, indent=1, sort_keys=True).encode()
        return Manifest(data, self.manifest.media_type, sha256(data))


def _check(recipe: Recipe) -> None:
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


def _choose(index: Manifest, name: ImageName) -> str:
    """Return the digest of the manifest for Linux on this kind of machine."""
    machine = _MACHINES.get(platform.machine(), platform.machine())
    for each in index.form.get("manifests", ()):
        kind = each.get("platform", {})
        if kind.get("os") == "linux" and kind.get("architecture") == machine:
            return str(each["digest"])
    raise ConfigError(f"the base image is not for linux/{machine}", where=name)


def _config(config: dict[str, Any], archives: list[bytes], recipe: Recipe, plan: Plan) -> bytes:
    """Return the image's configuration: the base image's, with our layers, labels and values."""
    try:
        config["rootfs"]["diff_ids"] += [sha256(each) for each in archives]
    except (KeyError, TypeError) as error:
        raise IntegrityError(
            "the base image's configuration is damaged", where=recipe.base_image
        ) from error
    made = {"created": _EPOCH, "created_by": "casflow", "comment": "files or flows"}
    config["history"] = [*(config.get("history") or ()), *(made for _ in archives)]
    inner = config.setdefault("config", {})
    inner["Labels"] = {**(inner.get("Labels") or {}), **plan.labels()}
    kept = [
        each for each in inner.get("Env") or () if each.partition("=")[0] not in recipe.variables
    ]
    inner["Env"] = kept + [f"{name}={value}" for name, value in recipe.variables.items()]
    return json.dumps(config, sort_keys=True).encode()
