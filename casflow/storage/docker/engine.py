"""The Docker engine, through its SDK.

Owns every call to an engine. Invariant: nothing of the user's is removed; what was made on the way
and is not needed, is; errors are translated here, also that the engine went away in the middle.
"""

from __future__ import annotations

import socket
import weakref
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

from casflow import config
from casflow.errors import (
    AccessError,
    CasflowError,
    ConfigError,
    ConflictError,
    MissingExtraError,
    NotFoundError,
    UnavailableError,
)
from casflow.redaction import remember_url
from casflow.storage.docker.layer import extract, pack
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.stream import build_error, read_stream, show_on_terminal, transfer_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_TIMEOUT = 600  # seconds between two signs of life, of a build step too
_CONNECT_TIMEOUT = 10  # seconds that an engine may take to say that it is there
_EMPTY = "casflow/empty:1"  # an image without files, for containers that are never started
_OWN_NETWORKS = (None, "host", "none", "bridge", "default")


@dataclass(frozen=True, slots=True)
class Image:
    """An image that an engine has: its id, labels, and names with the manifest's digest."""

    id: str
    labels: Mapping[str, str]
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image as a list of an engine's shows it.

    Attributes:
        id: Its id.
        tags: Its names, each with a tag.
        digests: Its names, each with a manifest's digest.
        created: When it was built, in seconds since the epoch by the engine's clock.
    """

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    created: float


class Engine:
    """One engine, connected to when it is first needed.

    Args:
        base_url: Its address; `DOCKER_HOST`, then the local socket, when left out.
        tls: Whether to speak TLS, or the SDK's `TLSConfig`.
        show: What is done with each line of progress.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        tls: Any = False,
        show: Callable[[str], None] = show_on_terminal,
    ) -> None:
        if urlsplit(base_url or "").password:
            remember_url(str(base_url))
            hint = "use a socket, a key for ssh, or certificates (tls_config)"
            raise ConfigError("the engine's address holds a password", hint=hint)
        self.base_url = base_url
        self._tls = tls
        self._show = show
        self._client: Any = None

    @property
    def client(self) -> Any:
        """The SDK's client.

        Raises:
            UnavailableError: No engine answers.
        """
        if self._client is None:
            self._client = _connect(self.base_url, self._tls)
            weakref.finalize(self, self._client.close)
        return self._client

    # ---- images ----------------------------------------------------------------------------

    def find_image(self, name: str) -> Image | None:
        """Return an image that is in the engine, or None."""
        try:
            with engine_errors(name):
                found = self.client.inspect_image(name)
        except NotFoundError:
            return None
        labels = found["Config"].get("Labels") or {}
        return Image(found["Id"], labels, tuple(found.get("RepoDigests") or ()))

    def labelled(self, label: str) -> list[ListedImage]:
        """Return the images that have a label, those without a name among them."""
        with engine_errors("images"):
            found = self.client.images(filters={"label": label})
        return [
            ListedImage(
                each["Id"],
                _named(each.get("RepoTags")),
                _named(each.get("RepoDigests")),
                float(each["Created"]),
            )
            for each in found
        ]

    def now(self) -> float:
        """Return the time by the engine's clock, in seconds since the epoch."""
        with engine_errors("the engine's clock"):
            return datetime.fromisoformat(self.client.info()["SystemTime"]).timestamp()

    def user_of(self, image: str) -> str:
        """Return the user that an image of the engine runs as; empty for root."""
        with engine_errors(image):
            return str(self.client.inspect_image(image)["Config"].get("User") or "")

    def build(self, context: BinaryIO, dockerfile: str, **options: Any) -> str:
        """Build an image and return its id.

        Raises:
            ConfigError: A step failed.
            UnavailableError: The engine went away, or its disk is full.
        """
        fixed = {"custom_context": True, "decode": True, "dockerfile": dockerfile}
        options = {"rm": True, "forcerm": True, **options, **fixed}
        with engine_errors(dockerfile):
            result = read_stream(self.client.build(fileobj=context, **options), self._show)
        if "error" in result:
            raise build_error(f"{result['error']}: {result['said']}", options.get("tag"))
        if "ID" not in result:
            raise UnavailableError("the Docker engine stopped in the middle of a build")
        return str(result["ID"])

    def tag(self, image: str, name: ImageName) -> None:
        """Give an image a further name."""
        with engine_errors(name):
            self.client.tag(image, name.untagged, tag=name.tag)

    def pull(self, name: str) -> None:
        """Fetch an image from its registry."""
        with engine_errors(name, transfer_error):
            parsed = ImageName.parse(name)
            lines = self.client.pull(
                parsed.untagged, tag=parsed.reference, stream=True, decode=True
            )
            result = read_stream(lines, self._show)
        if "error" in result:
            raise transfer_error(result["error"], name)

    def push(self, name: ImageName) -> None:
        """Send an image to its registry, which knows its manifest's digest afterwards."""
        with engine_errors(name, transfer_error):
            lines = self.client.push(name.untagged, tag=name.tag, stream=True, decode=True)
            result = read_stream(lines, self._show)
        if "error" in result:
            raise transfer_error(result["error"], name)

    def remove_image(self, image: str) -> None:
        """Take a name from an image, which goes with its last one; one that is used stays."""
        with suppress(CasflowError), engine_errors(image):
            self.client.remove_image(image)

    # ---- containers ------------------------------------------------------------------------

    def read_file(self, image: str, path: str, target: BinaryIO) -> None:
        """Write a file of an image to another file, without running anything of it.

        Raises:
            NotFoundError: The image has no such file, or is not there.
        """
        with self._container(image=image, command=["-"]) as container, engine_errors(image):
            pieces, _ = self.client.get_archive(container, path)
            extract(cast("BinaryIO", _ChunkReader(pieces)), path, target, where=image)

    def run(
        self, image: str, command: list[str], *, network: str, archive: bytes | None = None
    ) -> tuple[int, str]:
        """Run a command in a container that is removed again; return its exit code and output.

        Args:
            image: Image of the container.
            command: The command.
            network: Network of the container.
            archive: Files that are put into it before.
        """
        host = {"network_mode": network}
        options = {"image": image, "entrypoint": command[:1], "command": command[1:]}
        with self._container(**options, host=host) as container, engine_errors(image):
            if archive is not None:
                self.client.put_archive(container, "/", archive)
            self.client.start(container)
            code = int(self.client.wait(container)["StatusCode"])
            output = self.client.logs(container, stdout=True, stderr=True)
        return code, output.decode(errors="replace")

    def check_options(self, make_host_config: Callable[[Any], Any], network: str | None) -> None:
        """Find out whether containers can be made with some options; none is started.

        Args:
            make_host_config: Makes the host's part of the options with the SDK's client.
            network: Name of the network.

        Raises:
            ConfigError: The engine does not take them.
            UnavailableError: It does not answer, or cannot make containers now.
        """
        with engine_errors("the agent's options", _refused_options):
            client = self.client
            if network not in _OWN_NETWORKS and not str(network).startswith("container:"):
                try:
                    with engine_errors(network):
                        client.inspect_network(network)
                except NotFoundError as error:
                    hint = "make it, or name another one by --network"
                    raise ConfigError("no such network", where=network, hint=hint) from error
            if self.find_image(_EMPTY) is None:
                client.import_image_from_data(pack({"/none": b""}), repository=_EMPTY)
            host = make_host_config(client)
            made = client.create_container(_EMPTY, command=["none"], host_config=host)["Id"]
            client.remove_container(made, v=True, force=True)

    @contextmanager
    def _container(self, *, host: Mapping[str, Any] | None = None, **options: Any) -> Iterator[str]:
        with engine_errors(options["image"]):
            settings = self.client.create_host_config(**(host or {"network_mode": "none"}))
            container = self.client.create_container(host_config=settings, **options)["Id"]
        try:
            yield container
        finally:
            with suppress(CasflowError), engine_errors(container):
                self.client.remove_container(container, force=True)


def _named(names: list[str] | None) -> tuple[str, ...]:
    return tuple(each for each in names or () if "<none>" not in each)


class _ChunkReader:
    """Pieces of bytes as a file to be read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return the next bytes, fewer than asked for only at the end."""
        while len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._rest += piece
        wanted, self._rest = self._rest[:size], self._rest[size:]
        return wanted


def _connect(base_url: str | None, tls: Any) -> Any:
    address = base_url or config.docker_host()
    _probe(address)
    try:
        import docker
        from docker.utils import kwargs_from_env
    except ImportError as error:
        raise MissingExtraError("docker", "docker") from error
    where = {"base_url": base_url, "tls": tls} if base_url else kwargs_from_env()
    with engine_errors(address):
        docker.APIClient(**where, version="auto", timeout=_CONNECT_TIMEOUT).close()
        return docker.APIClient(**where, version="auto", timeout=_TIMEOUT)


def _probe(address: str) -> None:
    """Find out without the SDK, which takes its time, that nobody listens on a local socket."""
    path = address.removeprefix("unix://")
    if path == address or not hasattr(socket, "AF_UNIX"):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            raise _unreachable(address) from error


def _unreachable(where: object) -> UnavailableError:
    hint = "is it running, and may you use it?"
    return UnavailableError("cannot reach the Docker engine", where=where, hint=hint)


@contextmanager
def engine_errors(
    where: object, failure: Callable[[str, object], CasflowError] | None = None
) -> Iterator[None]:
    """Translate the SDK's errors by their status codes.

    Args:
        where: What was worked on.
        failure: Makes the error of a status that says no more than that it failed.
    """
    import requests
    import urllib3
    from docker.errors import APIError, DockerException

    unreachable = (requests.RequestException, urllib3.exceptions.HTTPError)
    try:
        yield
    except APIError as error:
        raise _refusal(error, where, failure or _failure) from error
    except unreachable as error:
        raise _unreachable(where) from error
    except DockerException as error:  # an argument that the SDK does not take, or no connection
        if isinstance(error.__cause__, unreachable):
            raise _unreachable(where) from error
        raise ConfigError(f"not an option of the Docker engine ({error})", where=where) from error


def _refusal(
    error: Any, where: object, failure: Callable[[str, object], CasflowError]
) -> CasflowError:
    reason = str(error.explanation or error)
    status = error.response.status_code if error.response is not None else 500
    if status in (401, 403):
        return AccessError(f"the Docker engine refused it ({reason})", where=where)
    if status == 404:  # noqa: PLR2004
        return NotFoundError(f"the Docker engine does not have it ({reason})", where=where)
    if status == 409:  # noqa: PLR2004
        return ConflictError(reason, where=where)
    if 400 <= status < 500:  # noqa: PLR2004
        return ConfigError(f"the Docker engine cannot do it ({reason})", where=where)
    return failure(reason, where)


def _refused_options(reason: str, where: object) -> CasflowError:
    return ConfigError(f"the Docker engine cannot do it ({reason})", where=where)


def _failure(reason: str, where: object) -> CasflowError:
    return UnavailableError(f"the Docker engine failed ({reason})", where=where)
