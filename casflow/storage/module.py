"""Flows of an importable module: the code is installed where it runs, nothing is stored.

The module's source is what has the digest; a pinned one is imported only if it is still that.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, BinaryIO

from casflow.digests import digest_of
from casflow.errors import FlowModuleNotFoundError, IntegrityError, os_errors
from casflow.reference import MODULE, BlobName, Reference
from casflow.storage.base import Storage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

    from casflow.flow import Flow


class Module(Storage):
    """Flows of a module that is installed where they run.

    Args:
        module: `package.module`, or `package.module:attribute` for a flow, or for a function
            that makes one.
        pin: Whether a run refuses a module whose source is not the one that was registered.
        options: What every storage takes.
    """

    fields = ("module", "pin")

    def __init__(self, module: str, pin: bool = False, **options: Any) -> None:  # noqa: FBT001, FBT002
        options.setdefault("stored_as_script", True)
        super().__init__(**options)
        self.module = module
        self.pin = pin

    def locate(self, flow: Flow) -> str:  # noqa: ARG002
        """Return the module."""
        return self.module

    def store(self, flow: Flow, labels: tuple[str, ...], known: Reference | None) -> None:  # noqa: ARG002
        """Record the digest of the module's source."""
        self.references[flow.name] = self._read(flow.name, labels)[0]
        self.uploaded[flow.name] = 0

    def resolve(self, name: str) -> Reference:
        """Return what is installed."""
        return self._read(name, tuple(self.labels))[0]

    def download(self, name: str, blob: BlobName, target: BinaryIO) -> str:  # noqa: ARG002
        """Write the module's source to a file."""
        _, data = self._read(name, ())
        target.write(data)
        return self.module

    def _read(self, name: str, labels: tuple[str, ...]) -> tuple[Reference, bytes]:
        data = _source(self.module)
        blob = BlobName(digest_of(data), 0, len(data))
        created = datetime.now(UTC).isoformat(timespec="microseconds")
        environment = {"module": self.module}
        made = Reference(name, blob, MODULE, created, labels, environment=environment)
        return made, data

    def reference(self, name: str) -> Reference:
        """Return what is installed; if pinned, only if that is what was registered."""
        found, registered = self.resolve(name), self.references.get(name)
        if self.pin and registered is not None and registered.digest != found.digest:
            raise IntegrityError(
                "the installed module is not the one that was registered",
                where=self.module,
                expected=registered.digest,
                actual=found.digest,
                hint="install that version, or register again",
            )
        return found

    def registered(self, name: str) -> Reference:
        """Return what is installed: a module runs as it is installed, or not at all."""
        return self.resolve(name)


def _source(module: str) -> bytes:
    """Return the bytes of the file that a module is made of: source, bytecode or a library.

    Raises:
        FlowModuleNotFoundError: There is no such module, or it is of no file.
    """
    name = module.partition(":")[0]
    spec = _find_spec(name)
    if spec is None:
        raise FlowModuleNotFoundError(
            "no such module",
            where=name,
            hint="it must be installed here, too: is its folder on the module search path?",
        )
    read = getattr(spec.loader, "get_data", None)
    if read is None or not spec.origin or not spec.has_location:
        hint = "name the module in it that makes the flow"
        raise FlowModuleNotFoundError("the module is of no file", where=name, hint=hint)
    with os_errors(spec.origin):
        data: bytes = read(spec.origin)
    return data


def _find_spec(name: str) -> ModuleSpec | None:
    """Return where a module is, without importing its parents: they are not verified yet."""
    places: Sequence[str] | None = None
    spec = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        try:
            spec = PathFinder.find_spec(".".join(parts[:count]), places)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or ())
    return spec
