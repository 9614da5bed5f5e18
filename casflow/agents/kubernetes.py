"""Kubernetes jobs for flows in images.

Owns the manifest of a job that runs one version of a flow. Invariant: it names the image by
digest where there is one, and holds no secret: what is secret it takes from a Secret by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from casflow.digests import digest_of, hex_of
from casflow.errors import ConfigError
from casflow.reference import slug
from casflow.storage.docker.names import ImageName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.registry import Version

CACHE = "/var/cache/casflow"
_LONGEST = 63  # characters of a name or a label's value


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How a job is run.

    Attributes:
        namespace: Its namespace; that of whoever applies it when left out.
        secret: Secret whose keys become environment variables, such as `CASFLOW_REGISTRY`.
        claim: Volume claim that holds the cache; a folder of the node when left out.
        memory: Memory that it asks for and may use.
        cpus: Processors that it asks for and may use.
        retries: How often it is tried again.
        parameters: Arguments for `casflow run`, as they stand on its command line.
        environment: Environment variables.
    """

    namespace: str | None = None
    secret: str | None = None
    claim: str | None = None
    memory: str | None = None
    cpus: str | None = None
    retries: int = 0
    parameters: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def job(version: Version, options: JobOptions) -> dict[str, Any]:
    """Return a `batch/v1` Job that runs a version of a flow.

    Raises:
        ConfigError: The flow is not in an image.
    """
    if version.storage.get("type") != "Docker":
        raise ConfigError("the flow is not in Docker storage", where=version.flow)
    labels = _labels(version)
    metadata: dict[str, Any] = {"generateName": f"{_short(version)}-", "labels": labels}
    if options.namespace:
        metadata["namespace"] = options.namespace
    pod = {
        "restartPolicy": "Never",
        "containers": [_container(version, options)],
        "volumes": [_volume(options)],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"backoffLimit": options.retries, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _container(version: Version, options: JobOptions) -> dict[str, Any]:
    wanted = ["--project", version.project, "--version", str(version.number)]
    values = [part for each in options.parameters for part in ("-P", each)]
    environment = {"CASFLOW_CACHE_DIR": CACHE, **options.environment}
    container: dict[str, Any] = {
        "name": "flow",
        "image": ImageName.parse(version.location).pinned,
        "command": ["python", "-m", "casflow", "run", version.flow, *wanted, *values],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "volumeMounts": [{"name": "cache", "mountPath": CACHE}],
    }
    if options.secret:
        container["envFrom"] = [{"secretRef": {"name": options.secret}}]
    sizes = {"memory": options.memory, "cpu": options.cpus}
    asked = {name: size for name, size in sizes.items() if size}
    if asked:
        container["resources"] = {"requests": asked, "limits": asked}
    return container


def _volume(options: JobOptions) -> dict[str, Any]:
    if options.claim:
        return {"name": "cache", "persistentVolumeClaim": {"claimName": options.claim}}
    return {"name": "cache", "hostPath": {"path": CACHE, "type": "DirectoryOrCreate"}}


def _labels(version: Version) -> dict[str, str]:
    return {
        "app.kubernetes.io/managed-by": "casflow",
        "io.casflow/flow": _short(version),
        "io.casflow/version": str(version.number),
        "io.casflow/digest": hex_of(version.digest)[:_LONGEST],
    }


def _short(version: Version) -> str:
    """Return a flow's slug, as long as a name with a random end may be."""
    text = slug(version.flow)
    if len(text) <= _LONGEST - 13:
        return text
    return f"{text[: _LONGEST - 22].rstrip('-')}-{hex_of(digest_of(text.encode()))[:8]}"
