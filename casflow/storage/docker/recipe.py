"""What an image is made of, but for the flows: its environment.

Owns the generated Dockerfile, whose order is a contract, and the check of what a user asked for.
Invariant: nothing of the caller's is changed; what cannot be written into a Dockerfile as it is
meant is refused, never written as something else.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from casflow.digests import digest_of, hex_of
from casflow.errors import ConfigError, os_errors
from casflow.redaction import find_leak
from casflow.storage.docker.context import DOCKERFILE, Context
from casflow.storage.docker.dockerfile import Inputs, inputs_of
from casflow.storage.docker.wheel import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_IN_CONTEXT = ".casflow"
PYTHON_LABEL = "io.casflow.python"  # of an image with casflow: minor version of its Python


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an environment is made of.

    Attributes:
        directory: Folder of casflow's own files in the image.
        base_image: Image to start from.
        dockerfile: Path of the Dockerfile of an image to start from instead.
        root: Folder that the Dockerfile's own COPY lines are about.
        dockerignore: Path of the patterns of what is left out of it; found as `docker build`
            finds it when left out.
        dependencies: What pip installs.
        variables: Environment variables.
        files: Path in the image by absolute path here.
        commands: Further lines of the Dockerfile.
        casflow_version: Release of casflow to install; the running one when left out.
    """

    directory: str
    base_image: str | None = None
    dockerfile: Path | None = None
    root: Path = field(default_factory=Path.cwd)
    dockerignore: Path | None = None
    dependencies: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    casflow_version: str | None = None

    def inputs(self, arguments: Mapping[str, str]) -> Inputs:
        """Return the images that the environment starts from.

        Args:
            arguments: Build arguments.
        """
        if self.dockerfile is None:
            return Inputs((str(self.base_image),), ())
        return inputs_of(read_text(self.dockerfile), arguments)

    def own_context(self) -> tuple[Context, str]:
        """Return what `docker build` would send for the user's Dockerfile, and that one's name."""
        path = Path(str(self.dockerfile)).resolve()
        text = read_text(path)
        context, root = Context(), self.root.resolve()
        is_inside = path.is_relative_to(root)
        name = path.relative_to(root).as_posix() if is_inside else _outside(text)
        ignored = self._ignored(path, root)
        context.add_tree(root, ignored, name)
        if not is_inside or ignored:
            # The engine leaves out of the image what is ignored, so these were sent for it alone.
            lines = [*ignored, *(() if is_inside else (name,))]
            context.add_bytes(".dockerignore", "".join(f"{each}\n" for each in lines).encode())
        context.add_bytes(name, text.encode())
        return context, name

    def _ignored(self, dockerfile: Path, root: Path) -> list[str]:
        beside = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
        found = [each for each in (beside, root / ".dockerignore") if each.is_file()]
        if self.dockerignore is not None:
            found = [self.dockerignore]
        lines = read_text(found[0]).splitlines() if found else []
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]

    def context(self, start: str, user: str = "") -> Context:
        """Return everything that an engine builds the environment from.

        Args:
            start: Exact name of the image to start from.
            user: The user that it runs as, if that is not root.
        """
        context = Context()
        wheel = None
        if self.casflow_version is None:
            wheel, data = make_wheel()
            context.add_bytes(f"{_IN_CONTEXT}/{wheel}", data)
        for number, source in enumerate(self.files):
            context.add(_name_of(number), Path(source))
        context.add_bytes(DOCKERFILE, self.text(start, wheel, user).encode())
        return context

    def text(self, start: str, wheel: str | None, user: str = "") -> str:
        """Return the Dockerfile."""
        # First, so that what a step that fails leaves behind is known as ours.
        lines = [f"FROM {start}", f"LABEL {PYTHON_LABEL}={python_version()}"]
        if user:
            lines.append("USER 0")  # else pip could not install
        copies = {
            self._target(source): _copy(_name_of(number), self._target(source))
            for number, source in enumerate(self.files)
        }
        wheels = [copies.pop(each) for each in self.dependencies if each in copies]
        lines += [*self._environment(), *wheels, *self._install(wheel), *copies.values()]
        if user:
            lines.append(f"USER {user}")
        return "\n".join([*lines, *self.commands]) + "\n"

    def arguments(self) -> dict[str, str]:
        """Return the build arguments that carry values which no line of a Dockerfile can."""
        return {
            _argument(number): text
            for number, text in enumerate(self.variables.values())
            if _is_long(text)
        }

    def _target(self, source: str) -> str:
        """Return the path in the image of one of `files`: in the target, if that is a folder."""
        target = self.files[source]
        is_in_folder = target.endswith("/") and not Path(source).is_dir()
        return target + Path(source).name if is_in_folder else target

    def _environment(self) -> list[str]:
        values = [
            f"ENV {name}={_value(number, text)}"
            for number, (name, text) in enumerate(self.variables.items())
        ]
        return [*(f"ARG {name}" for name in self.arguments()), *values]

    def _install(self, wheel: str | None) -> list[str]:
        wanted = f"casflow=={self.casflow_version}"
        copied = []
        if wheel is not None:
            wanted = f"{self.directory}/{wheel}"
            copied = [_copy(f"{_IN_CONTEXT}/{wheel}", wanted)]
        words = ["python", "-m", "pip", "install", "--no-cache-dir", wanted, *self.dependencies]
        return [*copied, f"RUN {json.dumps(words)}"]


def _name_of(number: int) -> str:
    """Return a name in the context that no line of a Dockerfile can misread."""
    return f"{_IN_CONTEXT}/files/{number}"


def _copy(name: str, target: str) -> str:
    """Return the line that copies a file to exactly this path; COPY replaces variables in it."""
    for special in ("\\", '"', "'", "$"):
        target = target.replace(special, f"\\{special}")
    return f"COPY {json.dumps([name, target])}"


def _outside(text: str) -> str:
    """Return the name in the context of a Dockerfile that is outside of the folder."""
    return f".dockerfile.{hex_of(digest_of(text.encode()))[:16]}"


def python_version() -> str:
    """Return major and minor version of this Python."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def default_base() -> str:
    """Return the image that is built on when none is named."""
    return f"python:{python_version()}-slim"


def check_directory(path: str) -> str:
    """Return a folder in an image if it can be one.

    Raises:
        ConfigError: It is not absolute, or not written with forward slashes.
    """
    clean = PurePosixPath(_check_line(path))
    if not clean.is_absolute() or "\\" in path or ".." in clean.parts:
        raise ConfigError("not an absolute path in an image", where=path, hint="write it as /a/b")
    return str(clean)


def from_root(path: str) -> str:
    """Return a path in an image; a relative one begins where Docker's working folder does."""
    return path if path.startswith("/") or "\\" in path else f"/{path.removeprefix('./')}"


def check_files(files: Mapping[str, str]) -> dict[str, str]:
    """Return files by absolute path if all of them are there to be copied.

    Raises:
        ConfigError: A path is relative, or an image cannot have its target.
    """
    files = {source: from_root(target) for source, target in files.items()}
    for source, target in files.items():
        _check_line(target)
        if not (Path(source).is_absolute() or _is_ours(source)):
            raise ConfigError("the path of a file to copy must be absolute", where=source)
        check_directory(target)
    return dict(files)


def _is_ours(source: str) -> bool:
    """Tell whether this is an absolute path of a Windows machine, on one."""
    return sys.platform == "win32" and PureWindowsPath(source).is_absolute()


def check_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables as text.

    Raises:
        ConfigError: One has a name or a value that no environment can hold.
    """
    for name, value in variables.items():
        if not _NAME.fullmatch(name) or "\0" in str(value):
            raise ConfigError("not an environment variable", where=repr(name))
    return {name: str(value) for name, value in variables.items()}


def check_dependencies(dependencies: Iterable[str]) -> list[str]:
    """Return what pip shall install if each is one line.

    Raises:
        ConfigError: One has a control character.
    """
    return [_check_line(each) for each in dependencies]


def refuse_secrets(**parts: object) -> None:
    """Refuse what would stand in an image, for all who can pull it, with a secret's value in it.

    Args:
        parts: What goes into the image, by the parameter that it was given as.

    Raises:
        ConfigError: One holds such a value.
    """
    for name, part in parts.items():
        if find_leak(str(part).encode(errors="replace")) is not None:
            what = "the image would hold the value of a secret"
            hint = 'name it in secrets=["..."], and read it inside of a task'
            raise ConfigError(what, where=name, hint=hint)


def _check_line(text: str) -> str:
    if _CONTROL.search(text):
        raise ConfigError("not one line of text", where=repr(text))
    return text


def read_text(path: Path) -> str:
    """Return the text of a file that a user named."""
    with os_errors(path):
        return path.read_text(encoding="utf-8")


def _is_long(text: str) -> bool:
    return "\n" in text or "\r" in text


def _argument(number: int) -> str:
    return f"CASFLOW_VALUE_{number}"


def _value(number: int, text: str) -> str:
    """Return a value as an ENV line takes it; one of several lines comes as an argument."""
    if _is_long(text):
        return f'"${{{_argument(number)}}}"'
    for special in ("\\", '"', "$"):
        text = text.replace(special, f"\\{special}")
    return f'"{text}"'
