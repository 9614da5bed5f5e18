"""The first step: a pickler that sees the live objects.

Owns what can only be decided on the live object: which functions, classes and modules travel by
value, and what each of them holds. Such an *owner* (function, class, cell, namespace of a module)
is pickled empty; what it holds is pickled afterwards, in further streams of the same pickler, so
that no owner is needed to make another and the emitter may choose the order. Invariant: what an
owner holds is read from the live object itself, so that what is restored is what was there.
"""

from __future__ import annotations

import builtins
import sys
import types
from typing import TYPE_CHECKING, Any

from casflow.serialize import (  # noqa: F401 - they register rules
    class_reducers,
    module_state,
    value_reducers,
)
from casflow.serialize.bytecode import Import, globals_of, imports_of, module_uses
from casflow.serialize.code_reducers import MACHINERY, submodule
from casflow.serialize.compat import Pickler, internals
from casflow.serialize.importer import importer_of
from casflow.serialize.instance_reducers import reducer_for
from casflow.serialize.reducers import PROTOCOL, Call, Module, Namespace, Start

if TYPE_CHECKING:
    from collections.abc import Iterable

    from casflow.serialize.buffers import StreamBuffer
    from casflow.serialize.locality import Scope
    from casflow.serialize.reducers import Reducer


class StagePickler(Pickler):
    """A pickler whose functions, classes and modules come empty, with their contents later.

    Attributes:
        scope: What travels by value.
        last: The last object that was begun; what to name, when pickling fails.
        classes: Addresses of all classes that were met.
        imports: Installed modules that functions by value import when they run.
        importable: Names under which functions import modules of the project when they run.
    """

    def __init__(self, buffer: StreamBuffer, scope: Scope) -> None:
        super().__init__(buffer, protocol=PROTOCOL)
        self.scope = scope
        self.last: Any = None
        self.classes: dict[int, Any] = {}
        self.imports: set[str] = set()
        self.importable: dict[str, Module] = {}
        self._reducers: dict[type, Reducer | None] = {}
        self._contents: list[tuple[Any, Any]] = []
        self._namespaces: dict[int, Namespace] = {}
        self._touched: dict[int, Namespace] = {}
        self._kept: list[Any] = []

    def dump_all(self, obj: Any) -> None:
        """Pickle an object, then what its owners hold, stream by stream, until nothing is left."""
        self.dump(obj)
        self._dump_contents()
        importing = [each for each in self._namespaces.values() if each.imports]
        if importing:
            find = importer_of(self.importable)
            names = Call(dict, Call(getattr, builtins, "__dict__"))
            self._contents.append((names, {"__import__": find}))
            self._contents += [(each, Start(names)) for each in importing]
            self._dump_contents()
        usual = Start(Call(getattr, builtins, "__dict__"))
        others = [(each, usual) for each in self._namespaces.values() if not each.imports]
        if others:
            self.dump(others)
        needed = [
            (each, [each.submodules[name] for name in sorted(each.submodules)])
            for each in self._namespaces.values()
            if each.submodules
        ]
        if needed:
            self.dump(needed)

    def _dump_contents(self) -> None:
        while self._contents or self._touched:
            batch, self._contents = self._contents, []
            touched, self._touched = self._touched, {}
            for namespace in touched.values():
                names, namespace.fresh = namespace.fresh, []
                batch.append((namespace, self._values(namespace, names)))
            self._kept.append(batch)  # the memo knows objects by their address
            self.dump(batch)

    def _values(self, namespace: Namespace, names: list[str]) -> dict[str, Any]:
        return {name: self.stand_in(namespace.values[name]) for name in names}

    def stand_in(self, value: Any) -> Any:
        """Return what stands for a variable: a project's module whose names are reached by name."""
        if type(value) is types.ModuleType and self.is_local_module(value):
            return self.namespace_of(value).module
        return value

    def hold(self, owner: Any, content: Any) -> None:
        """Pickle later what an owner holds."""
        self._contents.append((owner, content))

    def reducer_override(self, obj: Any) -> Any:
        """Return how to pickle an object, or NotImplemented for the ordinary way."""
        self.last = obj
        kind = type(obj)
        try:
            reducer = self._reducers[kind]
        except KeyError:
            reducer = self._reducers[kind] = reducer_for(kind)
        return NotImplemented if reducer is None else reducer(self, obj)

    def travels(self, obj: Any, name: str | None = None) -> bool:
        """Tell whether a function, class or type variable is pickled by value."""
        if self.scope.is_local(getattr(obj, "__module__", None)):
            return True
        found = internals._lookup_module_and_qualname(obj, name)  # noqa: SLF001
        return found is None or self.scope.is_local(found[0].__name__)

    def is_local_module(self, module: types.ModuleType) -> bool:
        """Tell whether a module is pickled by value."""
        name = module.__name__
        return self.scope.is_local(name) or sys.modules.get(name) is None

    def namespace(self, values: dict[str, Any]) -> Namespace:
        """Return what stands for the globals of functions."""
        found = self._namespaces.get(id(values))
        if found is None:
            own = values.get("__name__")
            name = (self.scope.name_of(own) or "") if isinstance(own, str) else ""
            found = self._namespaces[id(values)] = Namespace(name, values)
        return found

    def namespace_of(self, module: types.ModuleType) -> Namespace:
        """Return the namespace of a module that travels."""
        return self.namespace(module.__dict__)

    def reach(self, namespace: Namespace, names: Iterable[str]) -> None:
        """Let names of a namespace travel."""
        namespace.reach(names)
        if namespace.fresh:
            self._touched[id(namespace)] = namespace

    def reach_all(self, module: types.ModuleType) -> Namespace:
        """Let a module travel as a whole, without sub-modules that only others imported."""
        namespace = self.namespace_of(module)
        own = self.scope.imported_by(module)
        names = (
            name
            for name, value in module.__dict__.items()
            if name not in MACHINERY
            and not (
                isinstance(value, types.ModuleType)
                and value.__name__ == f"{module.__name__}.{name}"
                and value.__name__ not in own
            )
        )
        self.reach(namespace, sorted(names))
        return namespace

    def reach_from(self, function: types.FunctionType) -> Namespace:
        """Let travel what a function uses, and return its namespace."""
        namespace = self.namespace(function.__globals__)
        self.reach(namespace, globals_of(function.__code__))
        for module, chains in module_uses(function):
            self._reach_chains(module, chains, namespace.submodules)
        self.imports.update(namespace.submodules)
        package = function.__globals__.get("__package__") or ""
        for each in imports_of(function.__code__, package):
            if each.relative:
                self.reach(namespace, ["__package__"])
            namespace.imports |= self._reach_import(each, namespace.submodules)
        return namespace

    def _reach_chains(
        self,
        module: types.ModuleType,
        chains: Iterable[tuple[str, ...]],
        submodules: dict[str, types.ModuleType],
    ) -> None:
        for chain in chains:
            here = module
            for at, attribute in enumerate(chain):
                below = submodule(here, attribute)
                local = self.is_local_module(here)
                if local:
                    self.reach(self.namespace_of(here), [attribute])
                elif below is not None:
                    submodules[below.__name__] = below
                value = here.__dict__.get(attribute)
                if not isinstance(value, types.ModuleType):
                    break
                here = value
                if at == len(chain) - 1 and self.is_local_module(here):
                    self.reach_all(here)
            if not chain and self.is_local_module(module):
                self.reach_all(module)

    def _reach_import(self, what: Import, submodules: dict[str, types.ModuleType]) -> bool:
        """Let a module travel that a function imports when it runs; tell whether it does."""
        module = self.scope.importable(what.name)
        if module is None:
            self.imports.add(what.name)
            return False
        self._make_importable(what.name, module)
        if "*" in what.wanted or (not what.wanted and what.chains is None):
            self.reach_all(module)
        elif not what.wanted:
            top = sys.modules[what.name.partition(".")[0]]
            self._reach_chains(top, what.chains or (), submodules)
        for name in what.wanted:
            self._reach_wanted(module, what.name, name, submodules)
        return True

    def _reach_wanted(
        self,
        module: types.ModuleType,
        module_name: str,
        name: str,
        submodules: dict[str, types.ModuleType],
    ) -> None:
        """Let travel what `from module import name` takes."""
        if name == "*":
            return
        value = module.__dict__.get(name)
        if name not in module.__dict__:
            self._reach_import(Import(f"{module_name}.{name}"), submodules)
        elif isinstance(value, types.ModuleType) and self.is_local_module(value):
            self._make_importable(value.__name__, value)
            self.reach_all(value)
        self.reach(self.namespace_of(module), [name])

    def _make_importable(self, name: str, module: types.ModuleType) -> None:
        self.importable.setdefault(name, self.namespace_of(module).module)
        parent = name.rpartition(".")[0]
        above = self.scope.importable(parent) if parent else None
        if above is not None:
            self._make_importable(parent, above)
