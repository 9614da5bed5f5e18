"""Flows out of code: from the bytes of a script, or from a module.

Owns how a script is executed. Invariant: what runs is exactly the bytes that were handed over,
which the caller has verified; they run as a module of their own, never as `__main__`, and flows
that they define neither run nor register themselves meanwhile.
"""

from __future__ import annotations

import importlib
import linecache
import sys
import traceback
from importlib.util import decode_source, find_spec
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from casflow.digests import digest_of, hex_of
from casflow.errors import (
    ConfigError,
    DuplicateFlowError,
    FlowModuleNotFoundError,
    FlowNotFoundError,
    LoadError,
    NotAFlowError,
)
from casflow.flow.context import loading_flow
from casflow.flow.foreign import can_be_flow, flow_name, is_flow, loading_of_others

if TYPE_CHECKING:
    from collections.abc import Iterable

    from casflow.flow.flows import Flow

MODULE_PREFIX = "_casflow_script_"
_NO_STATE = (
    "flow.run() and flow.register() return None while a script is read; "
    "use what they return below `if __name__ == '__main__':`"
)


def flows_in_script(data: bytes, *, path: str) -> dict[str, Flow]:
    """Execute a script and return its flows by name, in the order of their definition.

    Args:
        data: The script; it is executed as it is, whatever the file at `path` holds.
        path: What it sees as `__file__`, and what tracebacks and messages name.

    Raises:
        LoadError: It is not Python, or raised an exception.
        DuplicateFlowError: Two of its flows have one name.
    """
    return _by_name(vars(_execute(data, path)).values(), path)


def flow_from_script(data: bytes, name: str | None = None, *, path: str) -> Flow:
    """Execute a script and return one of its flows, by name, or the only one.

    Raises:
        FlowNotFoundError: It holds no flow of that name, or none at all.
        ConfigError: It holds several, and no name was given.
        LoadError: It is not Python, or raised an exception.
        DuplicateFlowError: Two of its flows have one name.
    """
    return pick(flows_in_script(data, path=path), name, what="file", where=path)


def flows_in_module(target: str) -> dict[str, Flow]:
    """Import a module and return its flows by name, in the order of their definition.

    Args:
        target: `package.module`, or `package.module:attribute.of.it` for a flow, or for a
            function that makes one.

    Raises:
        FlowModuleNotFoundError: There is no such module.
        FlowNotFoundError: The attribute does not exist.
        NotAFlowError: The attribute is something else.
        DuplicateFlowError: Two of its flows have one name.
        LoadError: The module raised an exception.
    """
    module_name, _, attribute = target.partition(":")
    with loading_flow(), loading_of_others():
        module = _import(module_name)
        if attribute:
            flow = _make_flow(module, attribute, target)
            return {flow_name(flow): flow}
    return _by_name(vars(module).values(), target)


def flow_from_module(target: str, name: str | None = None) -> Flow:
    """Import a module and return one of its flows.

    Args:
        target: `package.module`, or `package.module:attribute.of.it` for a flow, or for a
            function that makes one.
        name: The flow's name; may be left out when there is only one.

    Raises:
        FlowModuleNotFoundError: There is no such module.
        FlowNotFoundError: It holds no such flow.
        NotAFlowError: The attribute is something else.
        ConfigError: It holds several flows, and no name was given.
        LoadError: The module raised an exception.
    """
    flows = flows_in_module(target)
    if ":" in target:
        return _named(next(iter(flows.values())), name, target)
    return pick(flows, name, what="module", where=target)


def _execute(data: bytes, path: str) -> ModuleType:
    from cloudpickle import register_pickle_by_value

    code = _compile(data, path)
    module = ModuleType(_name_of(data, path))
    module.__file__ = path
    _remember_lines(data, path)
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    register_pickle_by_value(module)  # no other process can import it
    try:
        with loading_flow(), loading_of_others():
            exec(code, vars(module))  # noqa: S102 - running flows is what scripts are for
    except BaseException as error:
        _restore(module.__name__, before)
        if not isinstance(error, (Exception, SystemExit)):
            raise
        raise _failed(error, path) from error
    return module


def _name_of(data: bytes, path: str) -> str:
    """Return the name that an import from the script's folder gives it, if nothing else has it."""
    stem = Path(path).stem
    known = sys.modules.get(stem)
    if known is not None:
        taken = not _is_at(getattr(known, "__file__", None), path)
    elif stem.isidentifier() and stem not in sys.stdlib_module_names:
        taken = _is_elsewhere(stem, path)
    else:
        taken = True
    return MODULE_PREFIX + hex_of(digest_of(data))[:16] if taken else stem


def _is_elsewhere(name: str, path: str) -> bool:
    try:
        spec = find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return False
    return spec is not None and not _is_at(spec.origin, path)


def _is_at(file: str | None, path: str) -> bool:
    return file is not None and Path(file).absolute() == Path(path).absolute()


def _compile(data: bytes, path: str) -> CodeType:
    try:
        return compile(data, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        where = f"{path}:{error.lineno}" if error.lineno else path
        raise LoadError(f"the script is not valid Python ({error.msg})", where=where) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise LoadError(f"the script is not valid Python ({error})", where=path) from error


def _remember_lines(data: bytes, path: str) -> None:
    # Without a time of change, linecache keeps the lines whatever becomes of the file.
    lines = decode_source(data).splitlines(keepends=True)
    linecache.cache[path] = (len(data), None, lines, path)


def _restore(name: str, before: ModuleType | None) -> None:
    if before is None:
        sys.modules.pop(name, None)
    else:
        sys.modules[name] = before


def _failed(error: BaseException, path: str) -> LoadError:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    where = f"{path}:{lines[-1]}" if lines else path
    hint = _NO_STATE if "'NoneType'" in str(error) else None
    return LoadError(f"the script raised {_described(error)}", where=where, hint=hint)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _import(name: str) -> ModuleType:
    if not name or name.startswith("."):
        raise ConfigError("not the name of a module", where=repr(name), hint="write package.module")
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            raise FlowModuleNotFoundError(
                "no such module", where=name, hint="is its folder on the module search path?"
            ) from error
        raise LoadError(f"the module raised {_described(error)}", where=name) from error


def _make_flow(module: ModuleType, attribute: str, target: str) -> Flow:
    found: Any = module
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise FlowNotFoundError("Failed to find flow at", where=target) from error
    if isinstance(found, FunctionType | MethodType | type):
        found = _call(found, target)
    if not can_be_flow(found):
        hint = "a flow has a name, and can be run or called"
        kind = type(found).__name__
        raise NotAFlowError(f"Object at {target!r} is a {kind}, not a Flow", hint=hint)
    return cast("Flow", found)


def _call(function: Any, target: str) -> Any:
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise LoadError(f"the function raised {_described(error)}", where=target) from error


def _named(flow: Flow, name: str | None, target: str) -> Flow:
    found = flow_name(flow)
    if name is not None and found != name:
        raise FlowNotFoundError(f"Flow at {target!r} is named {found!r}, expected {name!r}")
    return flow


def _by_name(values: Iterable[Any], where: str) -> dict[str, Flow]:
    flows: dict[str, Flow] = {}
    for each in list(values):
        if not is_flow(each):
            continue
        name = flow_name(each)
        if flows.setdefault(name, each) is not each:
            raise DuplicateFlowError(
                f"two flows are named {name!r}", where=where, hint="rename one of them"
            )
    return flows


def pick(flows: dict[str, Flow], name: str | None, *, what: str, where: str) -> Flow:
    """Return one of the flows of a file or module: by name, or the only one.

    Raises:
        FlowNotFoundError: There is no flow of that name, or none at all.
        ConfigError: There are several, and no name was given.
    """
    listed = ", ".join(repr(each) for each in sorted(flows))
    if not flows:
        raise FlowNotFoundError(f"No flows found in {what}", where=where)
    if name is None and len(flows) > 1:
        raise ConfigError(
            f"Multiple flows found in {what}", where=where, hint=f"name one of {listed}"
        )
    if name is not None and name not in flows:
        missing = f"Flow {name!r} not found in {what}"
        if what == "module":
            missing = f"Failed to find flow {name!r} in module"
        raise FlowNotFoundError(missing, where=where, hint=f"Found flows: {listed}")
    return flows[next(iter(flows)) if name is None else name]
