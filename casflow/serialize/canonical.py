"""From an object to its canonical bytes: the three steps in a row.

Owns their order and what happens when a step does not know a shape. Invariant: bytes that leave
here are canonical, or the plain stream of the first step together with a warning.
"""

from __future__ import annotations

import gc
import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle

from casflow.digests import digest_of
from casflow.errors import CasflowError, ConfigError
from casflow.serialize import compat, habits, normalize, sourcemap, unpicklable
from casflow.serialize.buffers import StreamBuffer
from casflow.serialize.emit import emit
from casflow.serialize.environment import check_installed, modules_in, modules_of, report
from casflow.serialize.graph import UnknownShapeError
from casflow.serialize.locality import Scope, scope_of
from casflow.serialize.nondeterminism import may_be_unstable, unstable_values
from casflow.serialize.ordering import order
from casflow.serialize.owners import Schedule, attach
from casflow.serialize.pickler import StagePickler
from casflow.serialize.records import Context

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from casflow.serialize.emit import Emitted
    from casflow.serialize.graph import Graph

SOURCE_MAP = "source_map"
_NOT_CANONICAL = "stored as pickled, so its digest may differ in another process: {}"
_PROBE = "blake3:95eeb0cb3ac96f07dcac96265f2773e7e1be2c9dfd6ea47f3b80988a48958112"
logger = logging.getLogger("casflow.serialize")


@dataclass(frozen=True, slots=True)
class Serialized:
    """An object as it is stored.

    Attributes:
        data: The blob: a pickle of protocol 5 that plain `pickle.loads` reads.
        attachments: Further blobs by role: `source_map`, when there is code in it.
        environment: What it was made with: `python`, `python_tag`, `cloudpickle`, `casflow`,
            `modules` (by reference, each with `distribution==version`) and `files` (digests of
            the project's files that travel in it).
        warnings: One line each.
    """

    data: bytes
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def serialize(obj: Any, *, project: Path | None = None) -> Serialized:
    """Return an object's canonical bytes and all that belongs to them.

    Args:
        obj: Any object that can be pickled.
        project: The folder whose modules travel by value; when left out, the nearest folder with
            a `pyproject.toml` above the object's script, else the script's own.

    Raises:
        ConfigError: It cannot be pickled, or refers to a module that cannot be installed; the
            message names the part that cannot.
    """
    scope = scope_of(obj, project)
    with _without_collector():
        data, source_map, modules, warnings = _canonical(obj, scope, warn=True)
    return Serialized(
        data=data,
        attachments={SOURCE_MAP: source_map} if source_map else {},
        environment=report(scope, modules),
        warnings=tuple(warnings),
    )


def dumps(obj: Any) -> bytes:
    """Return the canonical bytes of any object that can be pickled.

    Raises:
        ConfigError: It cannot be pickled, or refers to a module that cannot be installed; the
            message names the part that cannot.
    """
    with _without_collector():
        return _canonical(obj, scope_of(obj, None), warn=False)[0]


def digest(obj: Any) -> str:
    """Return the digest of any object that can be pickled, `blake3:` and 64 hexadecimal digits.

    Raises:
        ConfigError: As for `dumps`.
    """
    return digest_of(dumps(obj))


def _canonical(obj: Any, scope: Scope, *, warn: bool) -> tuple[bytes, bytes, list[str], list[str]]:
    """Return blob, source map, the modules that it refers to, and warnings."""
    if _FAULT is not None:
        return _as_pickled(obj, scope, _FAULT)
    buffer = StreamBuffer()
    pickler = StagePickler(buffer, scope)
    try:
        pickler.dump_all(obj)
    except CasflowError:
        raise
    except Exception as error:  # whatever an object's own reduction raises
        raise unpicklable.error_for(obj, pickler.last, error) from error
    try:
        graph, emitted = _emit(buffer, pickler)
    except UnknownShapeError as unknown:
        if pickler.importable:
            what = f"a function imports the project's module {min(pickler.importable)} when it runs"
            hint = "import it at the top of the file, so that it travels with the flow"
            raise ConfigError(what, hint=hint) from unknown
        return _as_pickled(obj, scope, str(unknown), pickler.imports)
    modules = modules_of(graph)
    check_installed(modules, scope)
    source_map = sourcemap.build(emitted.literals, scope.relative)
    found = unstable_values(graph) if warn and may_be_unstable(emitted.small) else []
    names = sorted({*modules, *pickler.imports})
    return emitted.data, source_map, names, [str(each) for each in found]


def _emit(buffer: StreamBuffer, pickler: StagePickler) -> tuple[Graph, Emitted]:
    graph = buffer.parse()
    attach(graph)
    context = Context(graph, pickler.scope.renamed, pickler.scope.relative)
    normalize.apply(context)
    habits.apply(context)
    order(graph)
    return graph, emit(graph.root, Schedule(graph))


def _as_pickled(
    obj: Any, scope: Scope, reason: str, imports: Collection[str] = ()
) -> tuple[bytes, bytes, list[str], list[str]]:
    """Return what cloudpickle makes of an object, checked like all else."""
    try:
        with compat.by_value(scope.is_local):
            data = compat.dumps(obj)
    except Exception as error:  # whatever an object's own reduction raises
        raise unpicklable.error_for(obj, obj, error) from error
    modules = modules_in(data)
    check_installed(modules, scope)
    return data, b"", sorted({*modules, *imports}), [_NOT_CANONICAL.format(reason)]


def _fault() -> str | None:
    """Return why cloudpickle cannot be used as ever, if it cannot.

    A version that is not in the table of tested ones must give the probe's digest and source map.
    """
    version = cloudpickle.__version__
    if version in compat.TESTED:
        return None
    known = f"casflow was tested with {compat.TESTED[0]} to {compat.TESTED[-1]}"
    try:
        buffer, scope = StreamBuffer(), Scope(Path("/"))
        pickler = StagePickler(buffer, scope)
        pickler.dump_all(compat.probe())
        _, emitted = _emit(buffer, pickler)
        files = {each.info.file for _, each in emitted.literals if each.role == "file"}
        same = digest_of(emitted.data) == _PROBE and files == {"probe.py"}
        fault = None if same else f"cloudpickle {version} pickles otherwise, {known}"
    except Exception as error:  # noqa: BLE001 - renamed internals fail in any way
        fault = f"cloudpickle {version} is built otherwise ({error}), {known}"
    logger.warning("%s", fault or f"cloudpickle {version} is used, {known}")
    return fault


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep the garbage collector out: it would walk the growing graph again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


_FAULT = _fault()
