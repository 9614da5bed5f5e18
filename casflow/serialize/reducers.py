"""Which rule says how a kind of object is pickled, and what stands for something else meanwhile.

Owns the rules, in `REDUCERS`, by the name of the type that each is for; a subclass takes that of
its nearest base. A rule is one small function in `code_reducers`, `class_reducers`,
`instance_reducers` or `value_reducers`. Invariant: each returns a reduction of importable callables
only, or NotImplemented for the ordinary way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FunctionType, ModuleType

    from casflow.serialize.locality import Scope

    Reducer = Callable[["Pickling", Any], Any]

PROTOCOL = 5
REDUCERS: dict[str, Reducer] = {}


class Pickling(Protocol):
    """What rules ask of the pickler.

    Attributes:
        scope: What travels by value.
        classes: Addresses of all classes that were met.
    """

    scope: Scope
    classes: dict[int, Any]

    @property
    def dispatch_table(self) -> Any:
        """What cloudpickle does for installed types."""

    def hold(self, owner: Any, content: Any) -> None:
        """Pickle later what an owner holds."""

    def travels(self, obj: Any, name: str | None = None) -> bool:
        """Tell whether a function, class or type variable is pickled by value."""
        ...

    def is_local_module(self, module: ModuleType) -> bool:
        """Tell whether a module is pickled by value."""
        ...

    def stand_in(self, value: Any) -> Any:
        """Return what stands for a variable."""

    def reach_from(self, function: FunctionType) -> Namespace:
        """Let travel what a function uses, and return its namespace."""
        ...

    def reach_all(self, module: ModuleType) -> Namespace:
        """Let a module travel as a whole."""
        ...


def reducer(*names: str) -> Callable[[Reducer], Reducer]:
    """Register a rule for the types of these names."""

    def register(function: Reducer) -> Reducer:
        REDUCERS.update(dict.fromkeys(names, function))
        return function

    return register


class Call:
    """Stands in the stream for what a call returns."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments


class Namespace:
    """The dict that the functions of one module share, with the names in it that are reached.

    Attributes:
        module: Stands for the module itself.
        values: The live dict.
        reached: Names that travel, those already pickled included.
        fresh: Names of `reached` that are not yet pickled.
        submodules: Installed sub-modules that have to be imported where it is loaded.
        imports: Whether its functions import modules of the project when they run.
    """

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        self.module = Module(name)
        self.values = values
        self.reached: set[str] = set()
        self.fresh: list[str] = []
        self.submodules: dict[str, ModuleType] = {}
        self.imports = False

    def reach(self, names: Iterable[str]) -> None:
        """Let names travel, as far as they are there."""
        for name in names:
            if name not in self.reached and name in self.values and name != "__name__":
                self.reached.add(name)
                self.fresh.append(name)


class Module:
    """Stands for a module that travels by value, in the stream."""

    def __init__(self, name: str) -> None:
        self.name = name


class Start:
    """What a namespace has before any function is made that uses it: its `__builtins__`."""

    def __init__(self, names: Any) -> None:
        self.names = names


def same(obj: Any) -> Any:
    """Stand in the stream for "the object that is given": the parser puts that in its place."""
    return obj


def set_state(obj: Any, attributes: Any, slots: Any) -> Any:
    """Stand in the stream for attributes that are set past the methods of a class."""
    return obj, attributes, slots
