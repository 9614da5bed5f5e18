"""Programs that are changed a little: two that differ must never share a digest.

Owns the changes of one definition's syntax tree and the comparison of before and after. Invariant:
a change counts only when the description of the live object tells the two apart, and only where
the unchanged source, executed again at the end, still has the digest that it had at first.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import io
import random
import sys
import types
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OTHER: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Lt: ast.LtE, ast.LtE: ast.Lt,
    ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot,
    ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
Change = tuple[str, "Callable[[], None]"]


def mutate(job: dict[str, Any]) -> dict[str, Any]:
    """Change definitions of a package one by one; return the counts and what was not noticed."""
    from tests.serialize.mass.worker import import_all, offered

    sys.path.insert(0, job["folder"])
    chooser = random.Random(job["seed"])
    modules = list(import_all(job["modules"]).values())
    chooser.shuffle(modules)
    counts: Counter[str] = Counter()
    lost: list[str] = []
    for module in modules:
        if sum(counts.values()) < job["count"] and module.__file__ and offered(module):
            share = min(job["share"], job["count"] - sum(counts.values()))
            _mutate_module(module, share, chooser, counts, lost)
    return {"counts": counts, "lost": lost}


def _mutate_module(
    module: types.ModuleType, count: int, chooser: random.Random, counts: Counter[str],
    lost: list[str],
) -> None:  # fmt: skip
    tree = ast.parse(Path(str(module.__file__)).read_bytes())
    first = _state(module, tree, None)
    found = []
    places = [each for each in tree.body if isinstance(each, _DEFINITIONS) and each.name in first]
    for _ in range(3 * count):
        if len(found) >= count or not places:
            break
        name = (place := chooser.choice(places)).name
        fresh = copy.deepcopy(place)
        changes = list(_changes(fresh, tree))
        if not changes:
            continue
        kind, change = chooser.choice(changes)
        change()
        body = [fresh if each is place else each for each in tree.body]
        changed = ast.fix_missing_locations(ast.Module(body, []))
        after = _state(module, changed, name).get(name)
        if after is not None and after[0] != first[name][0]:
            found.append((kind, name, after[1] == first[name][1], changed))
    again = _state(module, tree, None)
    for kind, name, same, changed in found:
        if again.get(name) == first[name]:
            counts[kind] += 1
            if same:
                text = next(e for e in changed.body if getattr(e, "name", None) == name)
                lost.append(f"{module.__name__}:{name} ({kind})\n{ast.unparse(text)[:3000]}")


def _state(
    module: types.ModuleType, tree: ast.Module, only: str | None
) -> dict[str, tuple[Any, str]]:
    """Execute a module anew; return description and digest of what it offers."""
    from tests.serialize.mass.worker import offered, patience

    fresh = types.ModuleType(module.__name__)
    for name in ("__file__", "__package__", "__path__", "__spec__", "__loader__"):
        if name in vars(module):
            setattr(fresh, name, getattr(module, name))
    sys.modules[module.__name__] = fresh
    found = {}
    try:
        with patience(), contextlib.redirect_stdout(io.StringIO()):
            exec(compile(tree, str(module.__file__), "exec", dont_inherit=True), vars(fresh))
        for key, obj in offered(fresh).items():
            name = key.partition(":")[2]
            if obj.__name__ == name and only in (None, name):
                with contextlib.suppress(Exception), patience():
                    found[name] = _look(obj, module.__name__)
    except BaseException:  # whatever a changed program does
        return {}
    finally:
        sys.modules[module.__name__] = module
    return found


def _look(obj: Any, name: str) -> tuple[Any, str]:
    from casflow.serialize import digest
    from tests.serialize.mass.describe import Description

    return Description(name.partition(".")[0]).of(obj), digest(obj)


def _changes(definition: Any, tree: ast.Module) -> Iterator[Change]:
    for node in ast.walk(definition):
        if isinstance(node, ast.Constant):
            yield from _of_constant(node)
        elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in _OTHER:
            yield "operator", _setter(node, "op", _OTHER[type(node.op)]())
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in _OTHER:
            yield "operator", _setter(node, "ops", [_OTHER[type(node.ops[0])](), *node.ops[1:]])
        elif isinstance(node, ast.arguments) and node.defaults:
            yield "default", _setter(node, "defaults", [*node.defaults[:-1], ast.Constant(8341)])
        elif isinstance(node, ast.arguments) and node.kw_defaults and node.kw_defaults[-1]:
            changed = [*node.kw_defaults[:-1], ast.Constant(8341)]
            yield "default", _setter(node, "kw_defaults", changed)
        elif isinstance(node, _DEFINITIONS) and node.decorator_list:
            yield "decorator", _setter(node, "decorator_list", node.decorator_list[1:])
        if isinstance(node, ast.ClassDef):
            yield from _of_class(node, tree)


def _of_constant(node: ast.Constant) -> Iterator[Change]:
    value = node.value
    if isinstance(value, bool):
        yield "constant", _setter(node, "value", not value)
    elif isinstance(value, (int, float)):
        yield "constant", _setter(node, "value", value + 1)
    elif isinstance(value, str):
        yield "constant", _setter(node, "value", f"{value}x")
    elif value is None:
        yield "constant", _setter(node, "value", 0)


def _of_class(node: ast.ClassDef, tree: ast.Module) -> Iterator[Change]:
    """Yield changes of a class's own dict: overrides that equal a base's, slots, members less."""
    members = [each for each in node.body if isinstance(each, (*_DEFINITIONS, ast.Assign))]
    if len(node.body) > 1:
        for each in members:
            less = [other for other in node.body if other is not each]
            yield "member", _setter(node, "body", less)
    own = {each.name for each in members if isinstance(each, _DEFINITIONS)}
    for base in node.bases:
        for name in _methods(base, tree) - own:
            same = ast.Assign([ast.Name(name, ast.Store())], ast.Attribute(base, name, ast.Load()))
            yield "override", _setter(node, "body", [*node.body, same])
    slots = ast.Assign([ast.Name("__slots__", ast.Store())], ast.Tuple([], ast.Load()))
    yield "slots", _setter(node, "body", [*node.body, slots])


def _methods(base: ast.expr, tree: ast.Module) -> set[str]:
    for each in tree.body:
        if isinstance(each, ast.ClassDef) and isinstance(base, ast.Name) and each.name == base.id:
            return {one.name for one in each.body if isinstance(one, ast.FunctionDef)}
    return set()


def _setter(node: Any, name: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(node, name, value)
