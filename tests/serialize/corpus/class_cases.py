"""Classes, instances, enums, dataclasses and type variables."""

# ruff: noqa: RUF012, RUF023, UP042, PYI024, N818, N801, PLC3002, B024

import abc
import collections
import dataclasses
import enum
import functools
import typing
import weakref
from typing import Generic, NamedTuple, NewType, ParamSpec, Protocol, TypedDict, TypeVar

from case import Cases

cases = Cases()
add = cases.add
T = TypeVar("T")
K = TypeVar("K", bound=int)
P = ParamSpec("P")
UserId = NewType("UserId", int)


class Plain:
    """Text."""

    size = 1

    def go(self):
        return self.size


add("class", Plain, "x().go()")
add("instance", Plain(), "x.go()")


class Attributes:
    def __init__(self):
        self.alpha = self.beta = self.gamma = self.delta = self.epsilon = 1


add("class_with_attributes", Attributes, "sorted(vars(x()))")


class Child(Plain):
    size = 2

    def go(self):
        return super().go() + 1


add("subclass", Child, "x().go()")


class Mixin:
    def extra(self):
        return "extra"


class Diamond(Mixin, Child):
    pass


add("multiple_inheritance", Diamond, "x().go(), x().extra(), [c.__name__ for c in x.__mro__]")


class Tagged:
    tags = {"a", "b", "c"}
    frozen = frozenset({"x", "y", None})
    table = {"k": {"v1", "v2"}}

    def read(self):
        return sorted(self.tags), sorted(map(str, self.frozen)), sorted(self.table["k"])


add("class_with_sets", Tagged, "x().read()")


class Slotted:
    __slots__ = ("b", "a")

    def __init__(self):
        self.a, self.b = 1, {"s", "t"}


add("slots", Slotted(), "x.a, sorted(x.b)")


class SlottedChild(Slotted):
    __slots__ = ("c",)

    def __init__(self):
        super().__init__()
        self.c = 3


add("slots_inherited", SlottedChild(), "x.a, x.c")


class Properties:
    def __init__(self):
        self._value = 1

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, new):
        self._value = new

    @classmethod
    def make(cls):
        return cls()

    @staticmethod
    def twice(n):
        return 2 * n

    @functools.cached_property
    def costly(self):
        return self._value + 41


add("properties", Properties, "x.make().value, x.twice(2), x().costly")


class Abstract(abc.ABC):
    @abc.abstractmethod
    def one(self): ...

    @abc.abstractmethod
    def two(self): ...

    @property
    @abc.abstractmethod
    def three(self): ...


class Concrete(Abstract):
    three = 3

    def one(self):
        return 1

    def two(self):
        return 2


add("abstract", Abstract, "sorted(x.__abstractmethods__)")
add("concrete", Concrete, "x().one()")


class Registry(abc.ABC):
    pass


# A registry holds its classes weakly: without the list they would be gone when memory is cleaned.
_registered = [Registry.register(type(name, (), {"tag": name})) for name in "ABCDE"]
Registry.register(Plain)
add("abc_registry", Registry, "x.__name__")


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"

    def nice(self):
        return self.name.lower()


add("enum", Color, "[c.nice() for c in x]")
add("enum_member", Color.RED, "x.nice()")
add("set_of_members", {Color.RED, Color.GREEN}, "sorted(c.nice() for c in x)")


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


add("int_enum", Level.HIGH, "x + 1")


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()
    BOTH = READ | WRITE


add("flag", Access.BOTH, "x.value")


class Mode(str, enum.Enum):
    FAST = "fast"


add("str_enum", Mode.FAST, "x.value")


@dataclasses.dataclass
class Point:
    x: int
    y: int = 2
    tags: frozenset = frozenset({"p", "q", "r"})
    items: list = dataclasses.field(default_factory=list)


add("dataclass", Point, "x(1).y, sorted(x(1).tags)")
add("dataclass_instance", Point(1), "x.x, x.items")


@dataclasses.dataclass(frozen=True, order=True, slots=True, kw_only=True)
class Frozen:
    a: int = 1
    b: str = "b"


add("frozen_dataclass", Frozen(a=5), "x.a, x == type(x)(a=5)")
add("set_of_dataclasses", {Frozen(a=1), Frozen(a=2), Frozen(a=3)}, "sorted(f.a for f in x)")


@dataclasses.dataclass
class WithInit:
    n: dataclasses.InitVar[int]
    c: typing.ClassVar[int] = 3
    d: int = dataclasses.field(init=False, default=dataclasses.MISSING)

    def __post_init__(self, n):
        self.d = n


add("dataclass_initvar", WithInit, "x(4).d")


class Pair(NamedTuple):
    left: int
    right: str = "r"


add("named_tuple", Pair, "x(1)")
add("named_tuple_instance", Pair(1), "x.right")
Row = collections.namedtuple("Row", ["a", "b"])
add("collections_namedtuple", Row(1, 2), "x.a")


class Options(TypedDict, total=False):
    name: str
    size: int


def uses_typed_dict(o: Options) -> Options:
    return o


add("typed_dict_annotation", lambda: uses_typed_dict({"name": "n"}))


class Box(Generic[T]):
    def __init__(self, value: T):
        self.value = value


add("generic", Box, "x(1).value")
add("generic_alias", Box[int], "x(1).value")


class IntBox(Box[int]):
    pass


add("generic_subclass", IntBox, "x(2).value")
add("type_variable", T, "x.__name__")
add("bound_type_variable", [T, K, T], "[t.__name__ for t in x], x[0] is x[2]")
add("param_spec", P, "x.__name__")
add("new_type", UserId, "x(3)")


class Speaker(Protocol):
    def speak(self) -> str: ...


add("protocol", Speaker, "x.__name__")


class Meta(type):
    def __new__(mcs, name, bases, space):
        return super().__new__(mcs, name, bases, space | {"made": True})


class Made(metaclass=Meta):
    pass


add("metaclass", Made, "x.made")


class Hooked:
    kinds = []

    def __init_subclass__(cls, tag=None, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.tag = tag


class HookedChild(Hooked, tag="t"):
    pass


add("init_subclass", HookedChild, "x.tag")


class Descriptor:
    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, obj, owner=None):
        return self.name


class Described:
    field = Descriptor()


add("descriptor", Described, "x().field")


class Stateful:
    def __init__(self):
        self.kept, self.lost = {"k1", "k2"}, lambda: 1

    def __getstate__(self):
        return {"kept": self.kept}

    def __setstate__(self, state):
        self.__dict__.update(state, lost=None)


add("getstate", Stateful(), "sorted(x.kept)")


class Reduced:
    def __init__(self, n):
        self.n = n

    def __reduce__(self):
        return type(self), (self.n,)


add("reduce", Reduced(3), "x.n")


class Failure(Exception):
    def __init__(self, what, code):
        super().__init__(what)
        self.code = code

    def __reduce__(self):
        return type(self), (self.args[0], self.code)


add("exception", Failure("bad", 3), "x.code, x.args")


class Callable_:
    def __call__(self, n=1):
        return n + 1


add("callable_instance", Callable_(), "x(2)")
add("bound_method", Plain().go, "x()")
add("class_method", Properties.make, "x().value")


class Node:
    def __init__(self, name):
        self.name, self.next = name, None


one, two = Node("one"), Node("two")
one.next, two.next = two, one
add("cycle", one, "x.next.next is x")


class Bag(set):
    pass


class FrozenBag(frozenset):
    pass


class Named(dict):
    pass


class Many(list):
    pass


add("set_subclass", Bag({"a", "b", "c", None}), "sorted(map(str, x))")
add("frozenset_subclass", FrozenBag({"a", "b", "c"}), "sorted(x)")
_named = Named(b=1, a=2)
_named.extra = {"e1", "e2"}
add("dict_subclass", _named, "list(x), sorted(x.extra)")
_many = Many([3, 1])
_many.append(_many)
add("list_subclass", _many, "x[0], x[2] is x")


def make_class(value):
    class Inner:
        tag = value

        def get(self):
            return self.tag

    return Inner


add(
    "class_factory_twice",
    [make_class(1), make_class(1), make_class(2)],
    "[c().get() for c in x], x[0] is x[1]",
)
add("closure_over_class", (lambda cls: lambda: cls().go())(Plain), "x()")
add("instances_and_class", [Plain(), Plain, Child(), Plain()], "type(x[0]) is x[1]")
_shared = Plain()
add("shared_instance", [_shared, {"k": _shared}, (_shared,)], "x[0] is x[1]['k'] is x[2][0]")
_weak = weakref.WeakSet([Plain, Child, Tagged, Slotted])
add("weak_set", _weak, "sorted(c.__name__ for c in x)")
add(
    "set_of_instances",
    {Plain(), Child(), Tagged(), Slotted()},
    "sorted(type(i).__name__ for i in x)",
)
add("set_of_twins", {Plain(), Plain(), Plain()}, "len(x)")
add("set_of_classes", {Plain, Child, Tagged, Color, int, str}, "sorted(c.__name__ for c in x)")
add("type_itself", type(None), "x()")

if __name__ == "__main__":
    cases.report()
