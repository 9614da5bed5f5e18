"""Kubernetes jobs for flows in images.

Owns the manifest of a job that runs one version of a flow. Invariant: it names the image by
digest where there is one, and holds no secret: what is secret it takes from a Secret by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from casflow.agents.docker import verified_image
from casflow.digests import digest_of, hex_of
from casflow.errors import ConfigError
from casflow.reference import slug
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.storage import PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.registry import Version

CACHE = "/var/cache/casflow"
_LONGEST = 63  # characters of a label's value, and of a name that a number is added to
_LONGEST_NAME = 253
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_OBJECT_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_QUANTITY = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[numkMGTPE]|[KMGTPE]i|[eE][-+]?\d+)?")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How a job is run.

    Attributes:
        namespace: Its namespace; that of whoever applies it when left out.
        secret: Secret whose keys become environment variables, such as `CASFLOW_REGISTRY`.
        claim: Volume claim that holds the cache; the pod's own folder when left out.
        pull_secrets: Secrets by which the image is pulled.
        service_account: Service account of the pod.
        ttl: Seconds after its end at which the job is removed; never when left out.
        memory: Memory that it asks for and may use.
        cpus: Processors that it asks for and may use.
        retries: How often it is tried again.
        parameters: Arguments for `casflow run`, as they stand on its command line.
        environment: Environment variables.
    """

    namespace: str | None = None
    secret: str | None = None
    claim: str | None = None
    pull_secrets: tuple[str, ...] = ()
    service_account: str | None = None
    ttl: int | None = None
    memory: str | None = None
    cpus: str | None = None
    retries: int = 0
    parameters: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = (self.namespace, self.secret, self.claim, self.service_account, *self.pull_secrets)
        for name in names:
            if name and not (len(name) <= _LONGEST_NAME and _OBJECT_NAME.fullmatch(name)):
                hint = "lower case letters, digits, - and ."
                raise ConfigError(
                    "not the name of a Kubernetes object", where=repr(name), hint=hint
                )
        for size in (self.memory, self.cpus):
            if size and not _QUANTITY.fullmatch(size):
                raise ConfigError("not a quantity", where=repr(size), hint="such as 512Mi or 500m")
        for name in self.environment:
            if not _VARIABLE.fullmatch(name):
                raise ConfigError("not an environment variable", where=repr(name))


def job(version: Version, options: JobOptions) -> dict[str, Any]:
    """Return a `batch/v1` Job that runs a version of a flow.

    Raises:
        ConfigError: The flow is not in an image, or has no parameter of a name that is given.
        SignatureError: It is not signed as this machine's policy asks.
    """
    if version.storage.get("type") != "Docker":
        raise ConfigError("the flow is not in Docker storage", where=version.flow)
    _check_parameters(version, options)
    labels = _labels(version)
    metadata: dict[str, Any] = {"generateName": f"{_short(version)}-", "labels": labels}
    if options.namespace:
        metadata["namespace"] = options.namespace
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [_container(version, options)],
        "volumes": [_volume(options)],
    }
    if options.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in options.pull_secrets]
    if options.service_account:
        pod["serviceAccountName"] = options.service_account
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec: dict[str, Any] = {"backoffLimit": options.retries, "template": template}
    if options.ttl is not None:
        spec["ttlSecondsAfterFinished"] = options.ttl
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _check_parameters(version: Version, options: JobOptions) -> None:
    """Refuse what the flow would refuse in its pod, if the version tells its parameters."""
    known = (version.reference or {}).get(PARAMETERS)
    if not isinstance(known, list):
        return
    names = sorted(map(str, known))
    for each in options.parameters:
        name = each.partition("=")[0]
        if name not in names:
            hint = f"it has {', '.join(names)}" if names else "it has no parameters"
            raise ConfigError(f"unknown parameter {name!r}", where=version.flow, hint=hint)


def _container(version: Version, options: JobOptions) -> dict[str, Any]:
    wanted = ["--project", version.project, "--version", str(version.number)]
    values = [part for each in options.parameters for part in ("-P", each)]
    environment = {"CASFLOW_CACHE_DIR": CACHE, **options.environment}
    container: dict[str, Any] = {
        "name": "flow",
        "image": ImageName.parse(verified_image(version) or version.location).pinned,
        "command": ["python", "-m", "casflow", "run", *wanted, *values, "--", version.flow],
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
    return {"name": "cache", "emptyDir": {}}


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
