"""What an image is made of, but for the flows: its environment.

Owns the generated Dockerfile, whose order is a contract, and the check of what a user asked for.
Invariant: nothing of the caller's is changed; what cannot be written into a Dockerfile as it is
meant is refused, never written as something else.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from casflow.errors import ConfigError, os_errors
from casflow.storage.docker.context import DOCKERFILE, Context
from casflow.storage.docker.wheel import make_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_FROM = re.compile(
    r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE | re.MULTILINE
)
_IN_CONTEXT = ".casflow"
PYTHON_LABEL = "io.casflow.python"  # of an image with casflow: minor version of its Python


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an environment is made of.

    Attributes:
        directory: Folder of casflow's own files in the image.
        base_image: Image to start from.
        dockerfile: Text to start with instead.
        root: Folder that the text's own COPY lines are about.
        ignored: Patterns of what is left out of it.
        dependencies: What pip installs.
        variables: Environment variables.
        files: Path in the image by absolute path here.
        commands: Further lines of the Dockerfile.
        casflow_version: Release of casflow to install; the running one when left out.
    """

    directory: str
    base_image: str | None = None
    dockerfile: str | None = None
    root: Path | None = None
    ignored: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    casflow_version: str | None = None

    def bases(self) -> list[str]:
        """Return the images that the Dockerfile starts from."""
        if self.dockerfile is None:
            return [str(self.base_image)]
        stages: set[str] = {"scratch"}
        found: list[str] = []
        for match in _FROM.finditer(self.dockerfile):
            if match[1].lower() not in stages and "$" not in match[1] and match[1] not in found:
                found.append(match[1])
            stages.add((match[2] or "").lower())
        return found

    def context(self, pinned: Mapping[str, str]) -> Context:
        """Return everything that an engine builds the environment from.

        Args:
            pinned: Exact names of the base images by the names that were asked for.
        """
        context = Context()
        if self.root is not None:
            context.add_tree(self.root, list(self.ignored))
        wheel = None
        if self.casflow_version is None:
            wheel, data = make_wheel()
            context.add(f"{_IN_CONTEXT}/{wheel}", data)
        for number, source in enumerate(self.files):
            context.add(self._name_of(number, source), Path(source))
        context.add(DOCKERFILE, self.text(pinned, wheel).encode())
        return context

    def text(self, pinned: Mapping[str, str], wheel: str | None) -> str:
        """Return the Dockerfile."""
        lines = [self._start(pinned), *self._environment(), *self._install(wheel)]
        for number, (source, target) in enumerate(self.files.items()):
            lines.append(f"COPY {json.dumps([self._name_of(number, source), target])}")
        return "\n".join([*lines, *self.commands]) + "\n"

    def arguments(self) -> dict[str, str]:
        """Return the build arguments that carry values which no line of a Dockerfile can."""
        return {_argument(name): text for name, text in self.variables.items() if _is_long(text)}

    def _start(self, pinned: Mapping[str, str]) -> str:
        if self.dockerfile is not None:
            return self.dockerfile.rstrip("\n")
        return f"FROM {pinned.get(str(self.base_image), self.base_image)}"

    def _environment(self) -> list[str]:
        values = [f"ENV {name}={_value(name, text)}" for name, text in self.variables.items()]
        return [*(f"ARG {name}" for name in self.arguments()), *values]

    def _install(self, wheel: str | None) -> list[str]:
        wanted = f"{self.directory}/{wheel}" if wheel else f"casflow=={self.casflow_version}"
        words = " ".join(shlex.quote(each) for each in (wanted, *self.dependencies))
        install = f"RUN python -m pip install --no-cache-dir {words}"
        if wheel is None:
            return [install]
        return [f"COPY {json.dumps([f'{_IN_CONTEXT}/{wheel}', f'{self.directory}/'])}", install]

    @staticmethod
    def _name_of(number: int, source: str) -> str:
        """Return a name in the context that no other file of the same base name has."""
        return f"{_IN_CONTEXT}/files/{number}/{Path(source).name}"


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
    clean = PurePosixPath(path)
    if not clean.is_absolute() or "\\" in path or ".." in clean.parts:
        raise ConfigError("not an absolute path in an image", where=path, hint="write it as /a/b")
    return str(clean)


def check_files(files: Mapping[str, str]) -> dict[str, str]:
    """Return files by absolute path if all of them are there to be copied.

    Raises:
        ConfigError: A path is relative, or an image cannot have its target.
    """
    for source, target in files.items():
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


def read_text(path: Path) -> str:
    """Return the text of a file that a user named."""
    with os_errors(path):
        return path.read_text(encoding="utf-8")


def _is_long(text: str) -> bool:
    return "\n" in text or "\r" in text


def _argument(name: str) -> str:
    return f"CASFLOW_VALUE_OF_{name.replace('.', '_')}"


def _value(name: str, text: str) -> str:
    """Return a value as an ENV line takes it; one of several lines comes as an argument."""
    if _is_long(text):
        return f'"${{{_argument(name)}}}"'
    for special in ("\\", '"', "$"):
        text = text.replace(special, f"\\{special}")
    return f'"{text}"'
