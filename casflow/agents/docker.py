"""The Docker agent: starts each run in a container of its flow's image.

Owns what a run's container is given: the image, the cache, the secrets, limits. Invariant: an
image is pulled only when the one of that digest is not there, and only from a registry that is
allowed; secrets are in a container's environment while it runs and nowhere else.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow import config
from casflow.agents.containers import ContainerOptions, RunContainer
from casflow.agents.local import LocalAgent
from casflow.errors import AccessError, CasflowError, ConfigError, UnavailableError
from casflow.secrets import Secret
from casflow.storage.docker.engine import Engine, engine_errors
from casflow.storage.docker.names import ImageName
from casflow.storage.plugins import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from casflow.registry import Registry, Run, Version

log = logging.getLogger("casflow.agents")

CACHE = "/var/cache/casflow"  # in a container
_HUB = "docker.io"
_AGENT_LABEL = "io.casflow.agent"


class DockerAgent(LocalAgent):
    """Takes waiting runs whose labels it carries, and runs each in a container.

    Args:
        registry: Where the runs wait.
        labels: Labels that it carries.
        engine: Where the containers run; the local engine when left out.
        allow_registries: Hosts that images may come from; any when empty.
        image: Image for flows that are not in Docker storage; without it they fail.
        volumes: Folder in a container by folder here, besides the cache.
        environment: Environment variables of every container.
        network: Network of every container.
        memory: Memory that a container may use, such as `512m`.
        cpus: Processors that a container may use.
        options: What a local agent takes.
    """

    def __init__(
        self,
        registry: Registry,
        labels: Iterable[str] = (),
        *,
        engine: Engine | None = None,
        allow_registries: Iterable[str] = (),
        image: str | None = None,
        volumes: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        network: str | None = None,
        memory: str | None = None,
        cpus: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(registry, labels, **{"name": "docker", "fork": False, **options})
        self._engine = engine or Engine()
        self._allowed = frozenset(allow_registries)
        self._image = None if image is None else ImageName.parse(image)
        self._options = ContainerOptions(
            environment={"CASFLOW_CACHE_DIR": CACHE, **(environment or {})},
            volumes={**_mounts(registry.url), **(volumes or {})},
            network=network,
            memory=memory,
            cpus=cpus,
            user=_user(),
        )

    def start(self, *, once: bool = False) -> None:
        """Check the options, remove what an earlier life of this agent left behind, then work.

        Raises:
            ConfigError: The engine does not take the options.
            UnavailableError: No engine answers; one that goes away later is waited for.
        """
        self._check_options()
        self._remove_stale_containers()
        super().start(once=once)

    def open(self, run: Run, version: Version) -> RunContainer:
        """Start a run in a container."""
        image = self._choose(version)
        labels = {
            _AGENT_LABEL: self._label,
            "io.casflow.run": str(run.id),
            "io.casflow.flow": run.flow,
        }
        environment = {**self._options.environment, **_secrets(version.storage.get("secrets", ()))}
        options = replace(self._options, labels=labels, environment=environment)
        spec = replace(self.run_spec(run, version), registry=self._registry.url)
        try:
            return RunContainer(run, spec, self._engine, image.pinned, options, self._blame)
        except UnavailableError:
            raise
        except CasflowError as error:
            raise self._blame(error) from error

    def _check_options(self) -> None:
        self._engine.check_options(self._options.host_config, self._options.network)

    def _blame(self, error: CasflowError) -> CasflowError:
        """Return why a container could not be started: the run's fault, or for now the agent's."""
        try:
            self._check_options()
        except CasflowError as own:
            return UnavailableError(f"the agent cannot start containers: {own}")
        return error

    @property
    def _label(self) -> str:
        """What the containers of this agent are known by, in its next life too."""
        return f"{socket.gethostname()}/{self.name}"

    def _choose(self, version: Version) -> ImageName:
        """Return the image of a flow.

        Raises:
            ConfigError: It has none.
            AccessError: It is in a registry that is not allowed, or not signed as the policy asks.
        """
        verified = verified_image(version)
        if version.storage.get("type") == "Docker":
            image = ImageName.parse(verified or version.location)
        elif self._image is not None:
            image = self._image
        else:
            hint = "start the agent with --image, or store the flow in an image"
            raise ConfigError("the flow is not in Docker storage", where=version.flow, hint=hint)
        if self._allowed and (image.host or _HUB) not in self._allowed:
            hint = "start the agent with --allow-registry for it"
            raise AccessError("images of this registry are not allowed", where=image, hint=hint)
        return image

    def _remove_stale_containers(self) -> None:
        filters = {
            "label": f"{_AGENT_LABEL}={self._label}",
            "status": ["exited", "created", "dead"],
        }
        with suppress(CasflowError), engine_errors("containers"):
            client = self._engine.client
            for each in client.containers(all=True, filters=filters):
                client.remove_container(each["Id"], v=True)
                log.info("removed container %s, left behind by a run", each["Id"][:12])


def verified_image(version: Version) -> str:
    """Return the image that a flow was put in, as signed; empty without a policy or an image.

    A container knows no policy of this machine, so what it will load is held to it before.

    Raises:
        SignatureError: The flow is not signed as the policy asks.
    """
    if not config.load().require:
        return ""
    return str(load(version.storage).verify_signatures(version.flow).extra.get("image", ""))


def _mounts(registry_url: str) -> dict[str, str]:
    """Return the folders that every container needs: the cache, and a registry that is a file."""
    cache = config.load().cache_dir
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    mounts = {str(cache): CACHE}
    scheme, _, path = registry_url.partition(":///")
    if scheme.startswith("sqlite"):
        folder = str(Path(path.partition("?")[0]).absolute().parent)
        mounts[folder] = folder
    return mounts


def _user() -> str | None:
    """Return who a container runs as, so that the files that it caches are ours."""
    if not hasattr(os, "getuid") or os.getuid() == 0:
        return None
    return f"{os.getuid()}:{os.getgid()}"


def _secrets(names: Iterable[str]) -> dict[str, str]:
    """Return the values of secrets as text."""
    values = {name: Secret(name).get() for name in names}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }
