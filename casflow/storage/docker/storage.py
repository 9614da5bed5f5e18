"""Flows in a Docker image.

Owns the way from `Docker`'s parameters to an image and back to a flow. Invariant: a flow is known
by its digest, an image by the digest of all that goes into it; what is there is not built or sent
again, and the location that `build` gives names exactly one image wherever there is a registry.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Self, cast
from uuid import uuid4

from casflow import config
from casflow.errors import ConfigError, NotFoundError
from casflow.reference import slug
from casflow.storage.base import Storage
from casflow.storage.content import draft_pickle, draft_script
from casflow.storage.docker.engine import Engine
from casflow.storage.docker.engine_build import EngineBuilder
from casflow.storage.docker.image_store import EngineImageStore, ImageStore, RegistryImageStore
from casflow.storage.docker.names import ImageName, check_url, name_for, split_url
from casflow.storage.docker.plan import Plan, references_in
from casflow.storage.docker.recipe import (
    Recipe,
    check_dependencies,
    check_directory,
    check_files,
    check_variables,
    default_base,
    from_root,
    refuse_secrets,
)
from casflow.storage.docker.registry import Registry, open_registry
from casflow.storage.docker.registry_build import RegistryBuilder
from casflow.storage.docker.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from casflow.blobs.content import Draft
    from casflow.flow import Flow
    from casflow.reference import BlobName, Reference

DIRECTORY = "/opt/casflow"
PARAMETERS = "parameters"  # in a reference: the names of the flow's


class Docker(Storage):
    """Flows in an image, and the image in a registry.

    Args:
        registry_url: The registry, with the folder in it if there is one; without it the image
            stays in the engine. `http://` and `https://` in front are taken at their word; else
            plain HTTP is spoken to this machine only.
        image_name: Name of the image; the slug of the flow's name by default.
        image_tag: Tag of the image; the moment of the build by default.
        base_image: Image to start from; Python's of this version by default.
        dockerfile: Path of a Dockerfile to start with instead; it sees the current folder.
        dockerignore: Path of the patterns of what it shall not see; found as `docker build` does.
        python_dependencies: What pip installs.
        env_vars: Environment variables of the image.
        files: Path in the image by absolute path here; a relative one begins at its root.
        extra_dockerfile_commands: Further lines of the Dockerfile.
        path: With `stored_as_script`, the script's path in the image, which is read from there
            unless it is one of `files`; else a further path of the only flow in the image.
        local_script_path: The script here, to be put at `path`.
        local_image: Whether the base image is the engine's own, not to be looked for elsewhere.
        ignore_healthchecks: Whether the image is used without being checked from within.
        base_url: Address of the engine; `DOCKER_HOST` or the local socket by default.
        tls_config: Whether the engine speaks TLS, or the SDK's `TLSConfig`.
        build_kwargs: Further parameters of the SDK's build.
        casflow_directory: Folder of casflow's own files in the image.
        prefect_directory: The same, by its older name.
        prefect_version: Release of Prefect that pip installs, for a flow of Prefect.
        casflow_version: Release of casflow in the image; the running one by default.
        builder: `engine`, or `registry` to put the image together without an engine.
        options: What every storage takes.
    """

    fields = ("registry_url", "path", "stored_as_script", "casflow_directory", "builder")

    def __init__(
        self,
        registry_url: str | None = None,
        base_image: str | None = None,
        dockerfile: str | Path | None = None,
        dockerignore: str | Path | None = None,
        python_dependencies: Iterable[str] | None = None,
        image_name: str | None = None,
        image_tag: str | None = None,
        env_vars: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        casflow_version: str | None = None,
        local_image: bool = False,  # noqa: FBT001, FBT002 - the original's signature
        ignore_healthchecks: bool = False,  # noqa: FBT001, FBT002
        base_url: str | None = None,
        tls_config: Any = False,  # noqa: FBT002
        build_kwargs: Mapping[str, Any] | None = None,
        casflow_directory: str = DIRECTORY,
        path: str | None = None,
        stored_as_script: bool = False,  # noqa: FBT001, FBT002
        extra_dockerfile_commands: Sequence[str] | None = None,
        *,
        local_script_path: str | Path | None = None,
        prefect_directory: str | None = None,
        prefect_version: str | None = None,
        builder: Literal["engine", "registry"] = "engine",
        **options: Any,
    ) -> None:
        super().__init__(stored_as_script=stored_as_script, **options)
        if base_image is not None and dockerfile is not None:
            raise ConfigError("Only one of `base_image` and `dockerfile` can be provided")
        if builder not in ("engine", "registry"):
            raise ConfigError("unknown builder", where=builder, hint="use 'engine' or 'registry'")
        if builder == "registry" and not registry_url:
            raise ConfigError("builder='registry' needs a registry_url")
        self.registry_url = check_url(registry_url)
        self.base_image = None if base_image is None else str(ImageName.parse(base_image))
        self.dockerfile = dockerfile
        self.dockerignore = dockerignore
        wanted = [] if prefect_version is None else [f"prefect=={prefect_version}"]
        self.prefect_version = prefect_version
        self.python_dependencies = check_dependencies([*(python_dependencies or ()), *wanted])
        self.files = check_files(files or {})
        self.casflow_version = casflow_version
        self.local_image = local_image
        self.ignore_healthchecks = ignore_healthchecks
        self.build_kwargs = dict(build_kwargs or {})
        self.casflow_directory = check_directory(prefect_directory or casflow_directory)
        self.env_vars = {"CASFLOW_HOME": self.casflow_directory, **check_variables(env_vars or {})}
        self.path = None if path is None else check_directory(from_root(path))
        self.local_script_path = local_script_path
        self.extra_dockerfile_commands = list(extra_dockerfile_commands or ())
        self.builder = builder
        self.engine = Engine(base_url, tls=tls_config)
        self.image_name = image_name
        self.image_tag = image_tag
        self.environment: str | None = None
        self._asked = (image_name, image_tag)
        self._sources: dict[str, Sources] = {}

    # ---- names -----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the image.

        Raises:
            ConfigError: It has none yet.
        """
        if not self.image_name or not self.image_tag:
            raise ConfigError("Docker storage is missing required fields image_name and image_tag")
        return str(self._image(self.image_name, self.image_tag))

    @property
    def base_url(self) -> str:
        """Address of the engine."""
        return self.engine.base_url or config.docker_host()

    def __repr__(self) -> str:
        return "<Storage: Docker>"

    def _image(self, name: str, tag: str | None) -> ImageName:
        host = split_url(self.registry_url)[1]
        text = f"{host}/{name}" if host else name
        return ImageName.parse(f"{text}:{tag}" if tag else text)

    def _next_image(self) -> ImageName:
        """Return the name that was asked for, or one made of the flows, without a tag."""
        name, tag = self._asked
        return self._image(name or name_for(self._flows), tag)

    def locate(self, flow: Flow) -> str:
        """Return where the flow will be in the image; `build` knows the image."""
        if self.stored_as_script and self.path is None:
            raise ConfigError(
                "A `path` must be provided to show where flow `.py` file is stored in the image."
            )
        return self.path or f"{self.casflow_directory}/flows/{slug(flow.name)}"

    # ---- the road down ---------------------------------------------------------------------

    def build(
        self, labels: Iterable[str] = (), known: Mapping[str, Reference] | None = None
    ) -> Self:
        """Make sure that an image of all flows that were added is there, under a name of its own.

        Args:
            labels: Further labels of the registration.
            known: For some flows, the reference that the last registration made.

        Raises:
            ConfigError: It cannot be built as it is asked for, or fails its checks.
            NotFoundError: There is no such base image.
            UnavailableError: The engine or the registry does not answer.
        """
        if not self._flows:
            return self
        refuse_secrets(
            env_vars=self.env_vars,
            python_dependencies=self.python_dependencies,
            extra_dockerfile_commands=self.extra_dockerfile_commands,
            build_kwargs=self.build_kwargs,
        )
        together = tuple(sorted({*self.labels, *labels}))
        builder, created = self._open_builder(), datetime.now(UTC)
        drafts = {name: self._draft(flow, together, builder) for name, flow in self._flows.items()}
        for name, draft in drafts.items():
            self.check_loads(draft, (known or {}).get(name))
        self.environment = builder.environment
        plan = Plan(
            asked=self._next_image(),
            environment=self.environment,
            directory=self.casflow_directory,
            drafts=drafts,
            link=self._link(),
            created=created,
            build=uuid4().hex,
        )
        image, own_tag, is_new = self._put(plan, builder, known or {})
        extra = {"image": str(image), "inputs": plan.inputs, "own_tag": own_tag}
        self._record(plan, extra, known or {}, is_new=is_new)
        return self

    def store(self, flow: Flow, labels: tuple[str, ...], known: Reference | None) -> None:
        """Build the image of all flows; one alone cannot be stored."""
        self.build(labels, None if known is None else {flow.name: known})

    def _put(
        self, plan: Plan, builder: EngineBuilder | RegistryBuilder, known: Mapping[str, Reference]
    ) -> tuple[ImageName, str, bool]:
        """Return the exact name of the plan's image, its own tag, and whether it was made."""
        found = {
            ImageName.parse(str(each.extra["image"])): str(each.extra.get("own_tag", ""))
            for each in known.values()
            if each.extra.get("inputs") == plan.inputs
        }
        if len(found) > 1 or known.keys() < plan.drafts.keys():
            found = {}  # a flow that gets a version in an image must have a tag on it
        image, is_new = self._image_store(plan.name).ensure(plan, found, builder.build)
        return image, found.get(image, plan.own_tag), is_new

    def _record(
        self,
        plan: Plan,
        extra: Mapping[str, Any],
        known: Mapping[str, Reference],
        *,
        is_new: bool,
    ) -> None:
        image = ImageName.parse(extra["image"])
        for name, reference in plan.references.items():
            old = known.get(name)
            own = {**extra, **_parameters(self._flows[name])}
            same = old is not None and dict(old.extra) == own
            created = cast("Reference", old).created if same else reference.created
            self.references[name] = replace(reference, extra=own, created=created)
            self.flows[name] = str(image)
            self.uploaded[name] = sum(each.size for each in reference.blobs()) if is_new else 0
        self.image_name = image.name_in(self.registry_url)
        self.image_tag = image.tag

    def _draft(
        self, flow: Flow, labels: tuple[str, ...], builder: EngineBuilder | RegistryBuilder
    ) -> Draft:
        if not self.stored_as_script:
            return draft_pickle(flow, labels)
        path = self._script()
        if path is not None:
            return draft_script(flow, path, labels)
        inside = str(self.path)
        return draft_script(flow, Path(inside), labels, builder.read_script(inside))

    def suggest_script(self, path: Path) -> None:
        """Take the script that makes the flows, where none was named."""
        if self.stored_as_script and self.local_script_path is None and self._copied() is None:
            self.local_script_path = path

    def _copied(self) -> Path | None:
        """Return the one of `files` that is at `path` in the image."""
        for source, target in self.files.items():
            if self.path in (target, f"{target.rstrip('/')}/{Path(source).name}"):
                return Path(source)
        return None

    def _script(self) -> Path | None:
        """Return the script here that is at `path` in the image; None if only the image has it."""
        return self._copied() if self.local_script_path is None else Path(self.local_script_path)

    def _link(self) -> str | None:
        """Return the further path that the flow layer gives to the only flow."""
        if self.path is None or (self.stored_as_script and self.local_script_path is None):
            return None
        if len(self._flows) > 1 and not self.stored_as_script:
            raise ConfigError("`path` can be the path of one flow only", where=self.path)
        return self.path

    # ---- the parts that do the work --------------------------------------------------------

    def _open_builder(self) -> EngineBuilder | RegistryBuilder:
        recipe = self._recipe()
        if self.builder == "registry":
            return RegistryBuilder(
                RegistryImageStore(self._registry(self._image("x", "x"))),
                recipe,
                self._registry,
                machine=str(self.build_kwargs.get("platform", "")).rpartition("/")[2] or None,
                check=not self.ignore_healthchecks,
                any_python=self.stored_as_script,
            )
        store = self._image_store(self._image("x", "x"))
        return EngineBuilder(
            self.engine,
            recipe,
            self.build_kwargs,
            self._registry,
            store if isinstance(store, RegistryImageStore) else None,
            local_image=self.local_image,
            check=not self.ignore_healthchecks,
        )

    def _recipe(self) -> Recipe:
        return Recipe(
            directory=self.casflow_directory,
            base_image=None if self.dockerfile else self.base_image or default_base(),
            dockerfile=None if self.dockerfile is None else Path(self.dockerfile),
            dockerignore=None if self.dockerignore is None else Path(self.dockerignore),
            dependencies=tuple(self.python_dependencies),
            variables=self.env_vars,
            files=self.files,
            commands=tuple(self.extra_dockerfile_commands),
            casflow_version=self.casflow_version,
        )

    def _registry(self, image: ImageName) -> Registry:
        return open_registry(image, self.registry_url)

    def _image_store(self, image: ImageName) -> ImageStore:
        return (
            RegistryImageStore(self._registry(image))
            if self.registry_url
            else EngineImageStore(self.engine)
        )

    # ---- the road back ---------------------------------------------------------------------

    def resolve(self, name: str) -> Reference:
        """Read the image's labels."""
        image = self._image_of(name)
        found = references_in(self._image_store(image).labels(image), where=image)
        if name not in found:
            raise NotFoundError(f"the image does not hold the flow {name!r}", where=image)
        return found[name]

    def download(self, name: str, blob: BlobName, target: BinaryIO) -> str:
        """Write a blob to a file, from the nearest place that has it."""
        image = self._image_of(name)
        if str(image) not in self._sources:
            registry = partial(self._registry, image) if self.registry_url else None
            place = Sources(image, self.casflow_directory, self.engine, registry)
            self._sources[str(image)] = place
        return self._sources[str(image)].copy_to(blob.digest, target)

    def _image_of(self, name: str) -> ImageName:
        location = self.flows[name]
        return ImageName.parse(self.name if location.startswith("/") else location)

    # ---- JSON form -------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """Return what makes two storages the same place: also the environment of the flows."""
        name, tag = self._asked
        own = {"image_name": name, "image_tag": tag, "environment": self.environment}
        return {**super().identity(), **own}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Self:
        """Return the storage of its JSON form."""
        storage = super().from_dict(form)
        storage.environment = form.get("environment")
        storage.image_name, storage.image_tag = form.get("image_name"), form.get("image_tag")
        storage._asked = (storage.image_name, storage.image_tag)  # noqa: SLF001 - its own class
        return storage


def _parameters(flow: Flow) -> dict[str, Any]:
    """Return the names that a run may give values to, for those who do not load the flow."""
    from casflow.flow import Flow

    if not isinstance(flow, Flow):  # another library's
        return {}
    return {PARAMETERS: sorted(each.name for each in flow.parameters())}
