"""Flow images put together in a registry: a base image's layers, then ours.

Owns the configuration and the manifest of such an image. Invariant: every blob is in the
repository before a manifest names it; each image has a digest of its own, so no image that was
condemned earlier can come out again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from casflow.errors import IntegrityError
from casflow.storage.docker.image_store import config_of
from casflow.storage.docker.layer import compress, sha256
from casflow.storage.docker.registry import DOCKER_MANIFEST, Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.storage.docker.image_store import RegistryImageStore
    from casflow.storage.docker.names import ImageName
    from casflow.storage.docker.plan import Plan
    from casflow.storage.docker.registry import Registry

_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_EPOCH = "1970-01-01T00:00:00Z"
_SMALL = 1 << 20  # bytes that are sent sooner than asked for


@dataclass(frozen=True, slots=True)
class Base:
    """An image that layers are added to, of one platform.

    Attributes:
        registry: The registry that has it.
        name: Its name there.
        manifest: Its manifest.
        config: Its configuration.
    """

    registry: Registry
    name: ImageName
    manifest: Manifest
    config: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, registry: Registry, name: ImageName, manifest: Manifest) -> Base:
        """Return the base of a manifest, with its configuration read from the registry."""
        return cls(registry, name, manifest, config_of(registry, name, manifest))


def publish(
    store: RegistryImageStore,
    base: Base,
    archives: list[bytes],
    plan: Plan,
    variables: Mapping[str, str],
) -> ImageName:
    """Add layers to a base image in a registry, give the image its names, return the exact one.

    Args:
        store: Where the image goes.
        base: The image to start from.
        archives: The layers, uncompressed, the lowest first.
        plan: What the image is for.
        variables: Environment variables to add to the base image's.
    """
    registry = store.registry
    _copy_layers(registry, base, plan.name)
    layers = [_send(registry, plan.name, compress(each)) for each in archives]
    config = _send(registry, plan.name, _config(base, archives, plan, variables))
    return store.commit(_manifest(base, config, layers), plan)


def _copy_layers(registry: Registry, base: Base, name: ImageName) -> None:
    """Let the base image's layers be in our repository; nothing is sent that is there."""
    same = base.registry is registry
    if same and base.name.api_repository == name.api_repository:
        return
    for layer in base.manifest.layers:
        digest = str(layer["digest"])
        if registry.has_blob(name, digest):
            continue
        if same and registry.mount_blob(name, digest, base.name):
            continue
        with base.registry.open_blob(base.name, layer) as file:
            registry.put_blob(name, file, digest)


def _send(registry: Registry, name: ImageName, data: bytes) -> dict[str, Any]:
    """Bring a blob into a repository; return its size and digest."""
    digest = sha256(data)
    send = registry.upload_blob if len(data) < _SMALL else registry.put_blob
    send(name, data, digest)
    return {"size": len(data), "digest": digest}


def _manifest(base: Base, config: dict[str, Any], layers: list[dict[str, Any]]) -> Manifest:
    """Return the manifest, of the base image's media type."""
    form = base.manifest.form
    kind = _DOCKER_LAYER if base.manifest.media_type == DOCKER_MANIFEST else _OCI_LAYER
    form["config"] = {"mediaType": form["config"]["mediaType"], **config}
    form["layers"] = [*form["layers"], *({"mediaType": kind, **each} for each in layers)]
    data = json.dumps(form, indent=1, sort_keys=True).encode()
    return Manifest(data, base.manifest.media_type, sha256(data))


def _config(base: Base, archives: list[bytes], plan: Plan, variables: Mapping[str, str]) -> bytes:
    """Return the image's configuration: the base image's, with our layers, labels and values."""
    config: dict[str, Any] = json.loads(json.dumps(base.config))
    try:
        config["rootfs"]["diff_ids"] += [sha256(each) for each in archives]
        inner = config.setdefault("config", {})
        labels, values = dict(inner.get("Labels") or {}), list(inner.get("Env") or ())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(
            "the base image's configuration is damaged", where=base.name
        ) from error
    made = {"created": _EPOCH, "created_by": "casflow", "comment": "files or flows"}
    config["history"] = [*(config.get("history") or ()), *(made for _ in archives)]
    inner["Labels"] = {**labels, **plan.labels()}
    kept = [each for each in values if each.partition("=")[0] not in variables]
    inner["Env"] = kept + [f"{name}={value}" for name, value in variables.items()]
    return json.dumps(config, sort_keys=True).encode()
