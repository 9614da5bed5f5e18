"""What a blob was made with, and what it expects to find where it is loaded.

Owns the report that stands in a reference (never in the blob, so that an upgrade does not make
every flow new), the check that everything a blob refers to can be installed, and the words for a
blob that does not load. Invariant: a module that is neither in the standard library nor in an
installed distribution is named, never passed over.
"""

from __future__ import annotations

import platform
import sys
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from casflow.digests import digest_of_file
from casflow.errors import ConfigError, LoadError
from casflow.serialize.distributions import distribution_of, file_of
from casflow.serialize.graph import GLOBAL, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from casflow.serialize.graph import Graph
    from casflow.serialize.locality import Scope

_OWN = ("casflow", "cloudpickle")
_STANDARD = frozenset(sys.stdlib_module_names) | set(sys.builtin_module_names) | {"builtins"}


def report(scope: Scope, modules: Iterable[str]) -> dict[str, Any]:
    """Return what a blob was made with: versions, distributions, digests of project files.

    Args:
        scope: The scope that it was pickled in.
        modules: Modules that it refers to.
    """
    return {**versions(), "modules": _distributions(modules), "files": _files(scope)}


def versions() -> dict[str, Any]:
    """Return the versions of what makes blobs here."""
    return {
        "python": platform.python_version(),
        "python_tag": sys.implementation.cache_tag,
        **{name: _version(name) for name in _OWN},
    }


@lru_cache
def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _distributions(modules: Iterable[str]) -> dict[str, str]:
    names = sorted({name.partition(".")[0] for name in modules} - _STANDARD - set(_OWN))
    found = {name: distribution_of(name) for name in names}
    return {name: each for name, each in found.items() if each is not None}


def _files(scope: Scope) -> dict[str, str]:
    files = {scope.relative(str(file)): file for file in scope.files.values()}
    return {name: digest_of_file(files[name]) for name in sorted(files)}


def modules_of(graph: Graph) -> dict[str, str]:
    """Return the modules that a graph refers to, each with one of the names that it wants there."""
    found: dict[str, str] = {}
    for node in graph.globals:
        if node.kind == GLOBAL:
            module, name = (text_of(item) or "" for item in node.items)
            found.setdefault(module, f"{module}.{name}")
    for call in graph.calls:
        function = call.items[0]
        if getattr(function, "kind", None) == GLOBAL and text_of(function.items[1]) == "subimport":
            name = text_of(call.items[1].items[0]) or ""
            found.setdefault(name, name)
    return found


def modules_in(data: bytes) -> dict[str, str]:
    """Return the same for a pickle that could not be read as a graph."""
    import pickletools

    found: dict[str, str] = {}
    texts: list[str] = []
    for operation, argument, _ in pickletools.genops(data):
        if operation.name == "STACK_GLOBAL" and len(texts) > 1:
            found.setdefault(texts[-2], ".".join(texts[-2:]))
        if isinstance(argument, str) and "UNICODE" in operation.name:
            texts.append(argument)
    return {name: each for name, each in found.items() if name in sys.modules}


def check_installed(modules: Mapping[str, str], scope: Scope) -> None:
    """Check that every module that a blob refers to comes from a distribution.

    Raises:
        ConfigError: One does not; the message names it.
    """
    for module in sorted(modules):
        top = module.partition(".")[0]
        if top in _STANDARD or top in _OWN or distribution_of(top) is not None:
            continue
        hint = f"move it into {scope.project}, or install it as a package"
        what = f"{modules[module]} is in no installed distribution and not in the flow's project"
        raise ConfigError(what, where=file_of(sys.modules.get(module)), hint=hint)


def load_error(error: Exception, environment: Mapping[str, Any]) -> LoadError:
    """Return what to say of a blob that does not load: what built it and what tries to run it."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing(error.name, environment)
    versions = (
        f"built with {_versions(environment)}, running with {_versions(_here())}"
        if environment
        else f"running with {_versions(_here())}"
    )
    hint = "run it with the versions that built it, or register it again here"
    return LoadError(
        f"cannot load the flow ({type(error).__name__}: {error})", where=versions, hint=hint
    )


def _missing(module: str, environment: Mapping[str, Any]) -> LoadError:
    top = module.partition(".")[0]
    known = environment.get("modules", {}).get(top)
    if known is None:
        hint = f"install the distribution that brings {top}"
        return LoadError(
            f"the flow needs the module {module}, which is not installed here", hint=hint
        )
    what = f"the flow needs the module {module} of {known}, which is not installed here"
    return LoadError(what, hint=f"install {known}")


def _here() -> dict[str, Any]:
    return {"python": platform.python_version(), **{name: _version(name) for name in _OWN}}


def _versions(environment: Mapping[str, Any]) -> str:
    shown = ((name, environment.get(name)) for name in ("python", *_OWN))
    return ", ".join(f"{name} {version}" for name, version in shown if version)
