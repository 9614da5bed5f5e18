"""The first step: a pickler that sees the live objects.

Owns what can only be decided on the live object: which functions, classes and modules travel by
value, and the few objects whose state differs from process to process or cannot be pickled.
Everything else is left to cloudpickle, and to the rules on the graph. Invariant: what is pickled
here loads with plain `pickle.loads`, without casflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casflow.serialize import reducers
from casflow.serialize.compat import Pickler, internals
from casflow.serialize.reducers import PROTOCOL

if TYPE_CHECKING:
    from casflow.serialize.buffers import StreamBuffer
    from casflow.serialize.locality import Scope
    from casflow.serialize.reducers import Reducer


class StagePickler(Pickler):
    """A cloudpickle that leaves out what depends on the process.

    Attributes:
        scope: What travels by value.
        last: The last object that was begun; what to name, when pickling fails.
        classes: Addresses of all classes that were met.
        imports: Modules that functions by value import when they run, with their function.
    """

    def __init__(self, buffer: StreamBuffer, scope: Scope) -> None:
        super().__init__(buffer, protocol=PROTOCOL)
        self.scope = scope
        self.last: Any = None
        self.classes: set[int] = set()
        self.imports: dict[str, Any] = {}
        self._reducers: dict[type, Reducer | None] = {}

    def reducer_override(self, obj: Any) -> Any:
        """Return how to pickle an object, or NotImplemented for the ordinary way."""
        self.last = obj
        kind = type(obj)
        try:
            reducer = self._reducers[kind]
        except KeyError:
            reducer = self._reducers[kind] = reducers.reducer_for(kind)
        return NotImplemented if reducer is None else reducer(self, obj)

    def travels(self, obj: Any, name: str | None = None) -> bool:
        """Tell whether a function, class or type variable is pickled by value."""
        if self.scope.is_local(getattr(obj, "__module__", None)):
            return True
        return internals._lookup_module_and_qualname(obj, name) is None  # noqa: SLF001

    def function_by_value(self, function: Any) -> tuple[Any, ...]:
        """Return cloudpickle's reduction of a function by value."""
        reduction: tuple[Any, ...] = self._dynamic_function_reduce(function)
        return reduction
