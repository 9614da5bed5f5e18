"""Cases of `test_kinds`: each a script with an object `f`, and how it shows its behaviour."""

# ruff: noqa: ISC004

from __future__ import annotations

FILES = {
    "kind_helper.py": "",
    "helping.py": (
        "import contextvars, threading\n"
        "DEBUG = False\nLOCK = threading.Lock()\nVAR = contextvars.ContextVar('v')\nSEEN = []\n"
        "def mode():\n    return 'debug' if DEBUG else 'prod'\n"
        "def note(x):\n    SEEN.append(x)\n    return len(SEEN)\n"
    ),
    "pack/__init__.py": "LEVEL = 1\n",
    "pack/sub.py": "from pack import LEVEL\nSIZE = 2\ndef size():\n    return SIZE + LEVEL\n",
    "pack/other.py": "NEVER = object()\n",
    "pack/broken.py": "import no_such_distribution_anywhere\n",
    "space/tool.py": "def tool():\n    return 'tool'\n",
}
CASES = {
    # State of a module that its functions share.
    "module_state": (
        "import helping as h\ndef f():\n    h.DEBUG = True\n    r = h.mode()\n"
        "    h.DEBUG = False\n    return r\n",
        "f()",
    ),
    "module_state_read": (
        "import helping\ndef f():\n    helping.note(1)\n    return len(helping.SEEN) > 0\n",
        "f()",
    ),
    "module_deleted": (
        "import helping as h\ndef f():\n    h.EXTRA = 1\n    return h.EXTRA\n",
        "f()",
    ),
    "module_from_import": (
        "from helping import mode, note\ndef f():\n    return mode(), note(2) > 0\n",
        "f()",
    ),
    "package": ("import pack.sub\ndef f():\n    return pack.sub.size()\n", "f()"),
    "package_from": ("from pack import sub\ndef f():\n    return sub.size()\n", "f()"),
    "namespace_package": ("import space.tool\ndef f():\n    return space.tool.tool()\n", "f()"),
    "late_import": ("def f():\n    from helping import mode\n    return mode()\n", "f()"),
    "late_package": ("def f():\n    from pack.sub import size\n    return size()\n", "f()"),
    # The name of the script's module.
    "dataclass_nested": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    n: int\n"
        "@dataclass\nclass B:\n    a: A\nf = B\n",
        "f(1).a",
    ),
    "update_wrapper": (
        "import functools\nclass W:\n    def __init__(self, fn):\n"
        "        functools.update_wrapper(self, fn)\n"
        "    def __call__(self):\n        return self.__wrapped__()\n"
        "@W\ndef f():\n    return 3\n",
        "f()",
    ),
    "dispatch_of_a_classmethod": (
        "import functools\nclass A:\n    @functools.singledispatchmethod\n    @classmethod\n"
        "    def of(cls, x):\n        return 'any'\n    @of.register\n    @classmethod\n"
        "    def _(cls, x: int):\n        return 'int'\nf = A\n",
        "f.of(1), f.of('a')",
    ),
    "noted_module": (
        "def note(fn):\n    fn.module = fn.__module__\n    return fn\nclass Base:\n"
        "    def __init_subclass__(cls):\n        cls.home_module = cls.__module__\n"
        "@note\nclass A(Base):\n    def __init__(self):\n        self.__module = __name__\n"
        "ONE = A()\n@note\ndef f():\n    return ONE.home_module == f.module == A.module\n",
        "f()",
    ),
    "annotations_within": (
        "import dataclasses\ndef f(x=3):\n    @dataclasses.dataclass\n    class Row:\n"
        "        n: int = x\n        tag: str = 'a'\n    return dataclasses.asdict(Row())\n",
        "f()",
    ),
    "logger_below": (
        "import logging\nlog = logging.getLogger(f'{__name__}.x')\n"
        "def f():\n    return log.name.endswith('.x')\n",
        "f()",
    ),
    "typed_dict": (
        "from __future__ import annotations\nfrom typing import TypedDict\n"
        "class R(TypedDict):\n    a: int\nclass S(R, total=False):\n    b: str\n"
        "def f():\n    return S(a=1), sorted(S.__required_keys__)\n",
        "f()",
    ),
    "name_of_module": ("def f():\n    return isinstance(__name__, str)\n", "f()"),
    # Two programs, one digest; see also the pairs.
    "diamond": (
        "class A:\n    r = 1\nclass B(A):\n    r = 1\nclass C(A):\n    r = 2\n"
        "class D(B, C):\n    pass\ndef f():\n    return D.r\n",
        "f()",
    ),
    "class_body_global": (
        "CHUNK = 7\ndef f():\n    class Row:\n        size = CHUNK\n    return Row.size\n",
        "f()",
    ),
    "enum_new": (
        "import enum\nclass E(enum.Enum):\n    A = (1, 'one')\n    B = (2, 'two')\n"
        "    def __new__(cls, n, text):\n        o = object.__new__(cls)\n        o._value_ = n\n"
        "        o.text = text\n        return o\ndef f():\n"
        "    return [(e.name, e.value, e.text) for e in E], E(2).text\n",
        "f()",
    ),
    "enum_init": (
        "import enum\nclass P(enum.Enum):\n    EARTH = (1, 2)\n    MARS = (3, 4)\n"
        "    def __init__(self, a, b):\n        self.sum = a + b\n"
        "def f():\n    return [e.sum for e in P]\n",
        "f()",
    ),
    "enum_flag": (
        "import enum\nclass F(enum.IntFlag):\n    R = 1\n    W = 2\n    RW = 3\n"
        "BOTH = F.R | F.W\ndef f():\n    return BOTH, F.R in BOTH, list(F), F(3) is F.RW\n",
        "f()",
    ),
    "enum_text": (
        "import enum\nclass S(str, enum.Enum):\n    A = 'a'\n    B = 'b'\n    C = 'a'\n"
        "def f():\n    return S('a') is S.A, S.C is S.A, list(S.__members__), S.B + '!'\n",
        "f()",
    ),
    # What runs while it is loaded.
    "set_of_keys": (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Key:\n    n: str\n"
        "    def known(self):\n        return self in KEYS\nKEYS = {Key('a'), Key('b')}\n"
        "def f():\n    return Key('a').known(), Key('c').known()\n",
        "f()",
    ),
    "hash_by_global": (
        "SALT = {'x': 3}\nclass K:\n    def __init__(self, n):\n        self.n = n\n"
        "    def __hash__(self):\n        return hash((self.n, SALT['x']))\n"
        "    def __eq__(self, other):\n        return self.n == other.n\n"
        "TABLE = {K(1): 'one'}\ndef f():\n    return TABLE[K(1)]\n",
        "f()",
    ),
    "abstract_instance": (
        "import abc\nclass Base(abc.ABC):\n    @abc.abstractmethod\n    def go(self): ...\n"
        "class Real(Base):\n    def go(self):\n        return DEFAULT is self\n"
        "DEFAULT = Real()\ndef f():\n    return DEFAULT.go(), Real().go()\n",
        "f()",
    ),
    "slots_dataclass": (
        "from dataclasses import dataclass\n@dataclass(slots=True, frozen=True)\nclass P:\n"
        "    x: int\n    def same(self):\n        return self == ORIGIN\nORIGIN = P(0)\n"
        "PLACES = {ORIGIN: 'o'}\ndef f():\n    return PLACES[P(0)], P(0).same()\n",
        "f()",
    ),
    "reduce_by_function": (
        "REGISTRY = {}\ndef find(name):\n    return REGISTRY.setdefault(name, Thing(name))\n"
        "class Thing:\n    def __init__(self, name):\n        self.name = name\n"
        "    def __reduce__(self):\n        return find, (self.name,)\n"
        "ONE = Thing('one')\ndef f():\n    return ONE.name, find('two').name\n",
        "f()",
    ),
    "metaclass_body": (
        "class Meta(type):\n    def __new__(mcs, name, bases, body):\n"
        "        body['count'] = len([n for n in body if n.startswith('do_')])\n"
        "        return super().__new__(mcs, name, bases, body)\n"
        "class Job(metaclass=Meta):\n    def do_a(self): ...\n    def do_b(self): ...\n"
        "def f():\n    return Job.count, type(Job).__name__\n",
        "f()",
    ),
    "init_subclass_registry": (
        "class Plugin:\n    known = {}\n    def __init_subclass__(cls, *, key):\n"
        "        Plugin.known[key] = cls\nclass One(Plugin, key='one'):\n    n = 1\n"
        "class Two(Plugin, key='two'):\n    n = 2\n"
        "def f():\n    return {k: c.n for k, c in Plugin.known.items()}\n",
        "f()",
    ),
    "metaclass_registry": (
        "class Meta(type):\n    made = []\n    def __init__(cls, *rest):\n"
        "        super().__init__(*rest)\n        Meta.made.append(cls)\n"
        "class A(metaclass=Meta):\n    pass\nclass B(A):\n    pass\n"
        "def f():\n    return [c.__name__ for c in Meta.made], B.__mro__[1] is A\n",
        "f()",
    ),
    "singleton": (
        "class Single(type):\n    held = {}\n    def __call__(cls, *a):\n"
        "        if cls not in cls.held:\n            cls.held[cls] = super().__call__(*a)\n"
        "        return cls.held[cls]\nclass Config(metaclass=Single):\n"
        "    def __init__(self):\n        self.n = 5\nCONFIG = Config()\n"
        "def f():\n    return Config() is CONFIG, CONFIG.n\n",
        "f()",
    ),
    # Slots, names, version.
    "empty_slots": (
        "class Base:\n    __slots__ = ()\nclass P(Base):\n    __slots__ = ('x',)\n"
        "def f():\n    p = P()\n    p.x = 1\n    return p.x, hasattr(p, '__dict__')\n",
        "f()",
    ),
    "slots_text": (
        "class P:\n    __slots__ = 'x'\ndef f():\n    p = P()\n    p.x = 1\n"
        "    return p.x, hasattr(p, '__dict__')\n",
        "f()",
    ),
    "nested_class": (
        "class A:\n    class B:\n        class C:\n            pass\nf = A\n",
        "f.B.C.__qualname__, f.B.__qualname__",
    ),
    "version_info": (
        "import sys\nfrom sys import version_info, flags\n"
        "def f():\n    return version_info[0], flags.optimize\n",
        "f()",
    ),
    "shared_cell": (
        "def make():\n    n = 0\n    def up():\n        nonlocal n\n        n += 1\n"
        "        return n\n    def get():\n        return n\n    return up, get\nf = make()\n",
        "(f[0](), f[1]() > 0)",
    ),
    # Refused or wrong before.
    "submodule_by_variable": (
        "import concurrent.futures\ndef f():\n    c = concurrent\n"
        "    return c.futures.Future.__name__\n",
        "f()",
    ),
    "bound_random": (
        "from random import random, choice\ndef f():\n    return random() < 1, choice([1])\n",
        "f()",
    ),
    "secrets": ("from secrets import choice\ndef f():\n    return choice([4])\n", "f()"),
    "random_values": (
        "from random import random\ndef f():\n    return random.__self__.__class__.__name__, "
        "random.__self__ is __import__('random')._inst\n",
        "f()",
    ),
    "singledispatch": (
        "import functools\n@functools.singledispatch\ndef f(x):\n    return 'any'\n"
        "@f.register\ndef _(x: int):\n    return 'int'\n@f.register(str)\ndef _(x):\n"
        "    return 'str'\n",
        "f(1), f('a'), f(1.5)",
    ),
    "weak_key_dictionary": (
        "import weakref\nclass K:\n    pass\nCACHE = weakref.WeakKeyDictionary()\n"
        "def f():\n    k = K()\n    CACHE[k] = 1\n    return CACHE[k]\n",
        "f()",
    ),
    "cached_method": (
        "import functools\nclass T:\n    def get(self, x):\n        return x + 1\n"
        "get = functools.lru_cache(T().get)\npart = functools.lru_cache(functools.partial(pow, 2))"
        "\nsize = functools.lru_cache(len)\ndef f():\n    return get(1), part(3), size('ab')\n",
        "f()",
    ),
    "struct": ("import struct\nS = struct.Struct('<I')\ndef f():\n    return S.pack(1)\n", "f()"),
    "named_sentinel": (
        "class _Missing:\n    def __reduce__(self):\n        return 'MISSING'\n"
        "MISSING = _Missing()\ndef f(x=MISSING):\n    return x is MISSING\n",
        "f()",
    ),
    "annotations_looked_at": (
        "class A:\n    pass\nA.__annotations__\ndef f():\n    return A().__class__.__name__\n",
        "f()",
    ),
    "exception_class": (
        "class E(Exception):\n    def __init__(self, a, b):\n        super().__init__(a)\n"
        "        self.b = b\ndef f():\n    try:\n        raise E(1, 2)\n"
        "    except E as e:\n        return e.args, e.b\n",
        "f()",
    ),
    # What hashes or makes itself while it is loaded.
    "enum_keys": (
        "import enum\nclass K(enum.Enum):\n    A = 1\n    B = 2\n"
        "    def go(self):\n        return TABLE[self]\n"
        "TABLE = {K.A: 'a', K.B: {K.A}}\ndef f():\n    return K.A.go(), K.A in TABLE[K.B]\n",
        "f()",
    ),
    "enum_own_hash": (
        "import enum\nclass K(enum.Enum):\n    A = 1\n    B = 2\n"
        "    def __hash__(self):\n        return hash(self._value_) + SALT\nSALT = 7\n"
        "SEEN = {(K.A, 1), (K.B, 2)}\ndef f():\n    return (K.B, 2) in SEEN, K(1) is K.A\n",
        "f()",
    ),
    "enum_aliases": (
        "import enum\nclass E(enum.Enum):\n    A = 1\n    B = 1\n    C = 2\n    D = 1\nf = E\n",
        "list(f.__members__), f.B is f.A, len(f)",
    ),
    "enum_of_tuples": (
        "import enum\nfrom typing import NamedTuple\nclass P(NamedTuple):\n    x: int\n"
        "    y: int = 0\nclass E(P, enum.Enum):\n    A = (1, 2)\n    B = (3, 4)\nf = E\n",
        "f.A.x, f((3, 4)) is f.B, f.B + (1,)",
    ),
    "cache_of_own": (
        "class N:\n    made = {}\n    def __init__(self, n):\n        self.n = n\n"
        "        N.made[n] = self\n    def __reduce__(self):\n        return N, (self.n,)\n"
        "ONE = N(1)\ndef f():\n    return N.made[1] is ONE, ONE.n\n",
        "f()",
    ),
    "tuple_of_own": (
        "class V(tuple):\n    def __new__(cls, *parts):\n"
        "        return super().__new__(cls, parts)\nV1 = V(1, 2)\ndef f():\n    return V1 + V1\n",
        "f()",
    ),
    "text_of_own": (
        "class S(str):\n    def __new__(cls, a, b):\n        made = super().__new__(cls, a)\n"
        "        made.b = b\n        return made\nONE = S('a', [1])\n"
        "def f():\n    return ONE.upper(), ONE.b\n",
        "f()",
    ),
    "number_of_own": (
        "class Id(int):\n    def __new__(cls, kind, n):\n        return super().__new__(cls, n)\n"
        "    def __str__(self):\n        return 'id'\nONE = Id('a', 4)\n"
        "def f():\n    return ONE + 1, str(ONE)\n",
        "f()",
    ),
    "exception_instance": (
        "class E(ValueError):\n    def __init__(self, step, *, why):\n"
        "        super().__init__(f'{step}: {why}')\n        self.why = why\n"
        "LAST = E('a', why='b')\ndef f():\n    return LAST.args, LAST.why, type(LAST).__name__\n",
        "f()",
    ),
    "delegating": (
        "class R:\n    def __init__(self, data):\n        self.data = data\n"
        "    def __getattr__(self, name):\n        return self.data[name]\n"
        "ROW = R({'a': 1})\ndef f():\n    return ROW.a, ROW.data\n",
        "f()",
    ),
    "read_only_slots": (
        "class P:\n    __slots__ = ('x', 'y')\n    def __init__(self):\n"
        "        object.__setattr__(self, 'x', [1])\n        object.__setattr__(self, 'y', 2)\n"
        "    def __setattr__(self, *a):\n        raise AttributeError('read only')\nONE = P()\n"
        "def f():\n    return ONE.x, ONE.y\n",
        "f()",
    ),
    "property_called_name": (
        "class M(type):\n    @property\n    def size(cls):\n        return 9\n"
        "class C(metaclass=M):\n    size = 1\n    @property\n    def __name__(self):\n"
        "        return 'own'\ndef f():\n    return C().__name__, C.size, C().size\n",
        "f()",
    ),
    # What a module keeps for its process.
    "locks": (
        "import threading, contextvars\nLOCK = threading.Lock()\nLOCAL = threading.local()\n"
        "VAR = contextvars.ContextVar('v', default=3)\nclass C:\n    _lock = threading.RLock()\n"
        "    def go(self):\n        with self._lock:\n            return 1\n"
        "def f():\n    with LOCK:\n        LOCAL.x = 2\n"
        "        return C().go(), LOCAL.x, VAR.get()\n",
        "f()",
    ),
    "locks_of_closures": (
        "import functools, threading\nLOCK = threading.Lock()\ndef guarded(lock):\n"
        "    def wrap(fn):\n        @functools.wraps(fn)\n        def inner(*a):\n"
        "            with lock:\n                return fn(*a)\n        return inner\n"
        "    return wrap\n@guarded(LOCK)\ndef f():\n    return LOCK.locked()\n",
        "f()",
    ),
    "locks_of_instances": (
        "import threading\nclass Limit:\n    def __init__(self, n):\n"
        "        self._lock = threading.Lock()\n"
        "        self._free = threading.Condition(self._lock)\n"
        "        self._slots = threading.BoundedSemaphore(n)\nLIMIT = Limit(3)\n"
        "def f():\n    with LIMIT._free, LIMIT._slots:\n        return LIMIT._lock.locked()\n",
        "f()",
    ),
    "queues": (
        "import queue, threading, concurrent.futures as c\nJOBS = queue.PriorityQueue(5)\n"
        "FULL = queue.LifoQueue()\nFULL.put(1)\nPOOL = c.ThreadPoolExecutor(2)\n"
        "SET = threading.Event()\nSET.set()\ndef f():\n    JOBS.put(2)\n"
        "    n = FULL.get()\n    FULL.put(n)\n"
        "    return JOBS.get(), n, POOL.submit(pow, 2, 3).result(), SET.is_set()\n",
        "f()",
    ),
    "own_descriptors": (
        "import abc\nclass classproperty(property):\n    def __get__(self, obj, owner):\n"
        "        return self.fget(owner)\nclass traced(classmethod):\n    pass\n"
        "class plain(staticmethod):\n    pass\nclass A:\n    @classproperty\n    def n(cls):\n"
        "        'The name.'\n        return cls.__name__\n    @traced\n    def make(cls, x):\n"
        "        return cls, x\n    @plain\n    def two():\n        return 2\n"
        "    @abc.abstractproperty\n    def old(self): ...\n"
        "def f():\n    kinds = [type(vars(A)[n]).__name__ for n in ('n', 'make', 'two', 'old')]\n"
        "    return A.n, A.make(1)[1], A.two(), kinds, vars(A)['n'].__doc__\n",
        "f()",
    ),
    "standard_streams": (
        "import sys\ndef f(a=sys.stdin, b=sys.stdout, c=sys.stderr):\n"
        "    return a is sys.stdin, b is sys.stdout, c is sys.stderr\n",
        "f()",
    ),
    # What libraries make of addresses.
    "type_adapter": (
        "from typing import Literal, Union\nfrom pydantic import BaseModel, TypeAdapter\n"
        "class A(BaseModel):\n    kind: Literal['a']\n    below: 'list[A]' = []\n"
        "class B(BaseModel):\n    kind: Literal['b']\nmany = TypeAdapter(list[Union[A, B]])\n"
        "def f():\n    return many.validate_python([{'kind': 'b'}])[0].kind\n",
        "f()",
    ),
    "model_of_itself": (
        "from pydantic import BaseModel, computed_field, field_serializer, field_validator\n"
        "class M(BaseModel):\n    n: int = 1\n    below: 'list[M]' = []\n"
        "    @field_validator('n')\n    @classmethod\n    def check(cls, n):\n"
        "        return n + 1\n"
        "    @field_serializer('n')\n    def show(self, n):\n        return str(n)\n"
        "    @computed_field\n    @property\n    def twice(self) -> int:\n"
        "        return self.n * 2\n"
        "f = M\n",
        "f(n=2, below=[{'n': 3}]).model_dump()",
    ),
    "validated_call": (
        "import os\nfrom pydantic import BaseModel, validate_call\nHERE = os.getpid()\n"
        "class A(BaseModel):\n    n: int\n    below: 'list[A]' = []\n"
        "@validate_call\ndef f(a: A, k: int = 2) -> int:\n    return a.n * k\n",
        "f({'n': '3'}, '4')",
    ),
    "late_import_with_lock": (
        "def f():\n    import helping\n    return helping.mode()\n",
        "f()",
    ),
    "late_import_whole": (
        "def f():\n    import helping as h\n    return vars(h)['mode'](), h.LOCK.locked()\n",
        "f()",
    ),
    "late_import_missing": (
        "def f():\n    try:\n        from pack import broken\n    except ImportError as e:\n"
        "        return type(e).__mro__[-4].__name__\n",
        "f()",
    ),
    "environment": (
        "from os import environ\ndef f():\n"
        "    return environ is __import__('os').environ, environ.get('NO_SUCH_NAME')\n",
        "f()",
    ),
    "module_of_own_kind": (
        "import types\nclass Lazy(types.ModuleType):\n    def __getattr__(self, name):\n"
        "        if name.startswith('__'):\n            raise AttributeError(name)\n"
        "        return f'lazy {name}'\nlazy = Lazy('lazy')\nlazy.here = 1\n"
        "def f():\n    return lazy.here, lazy.there\n",
        "f()",
    ),
    "logger_around": (
        "import logging\nlog = logging.getLogger('etl.' + __name__ + '.x')\n"
        "def f():\n    return log.name.startswith('etl.'), log.name.endswith('.x')\n",
        "f()",
    ),
    "typed_dict_of_extensions": (
        "import typing_extensions as te\nclass A(te.TypedDict):\n    a: int\n"
        "class B(A, total=False):\n    b: str\ndef f():\n    return sorted(B.__optional_keys__)\n",
        "f()",
    ),
    "type_aliases": (
        "from typing_extensions import TypeAliasType\nimport typing\nT = typing.TypeVar('T')\n"
        "class Node:\n    pass\nRow = TypeAliasType('Row', dict[str, Node])\n"
        "Many = TypeAliasType('Many', list[T], type_params=(T,))\n"
        "def f(row: Row = 1, many: 'list[int]' = 2, more: Many[int] = 3):\n"
        "    kinds = f.__annotations__\n    return kinds['row'].__value__ == dict[str, Node], "
        "kinds['more'].__args__, row, Many.__type_params__ == (T,)\n",
        "f()",
    ),
    "literal_of_members": (
        "import enum, typing\nclass K(enum.Enum):\n    A = 1\n    B = 2\n"
        "Kind = typing.Literal[K.A, K.B]\n"
        "def f(kind: Kind = K.A, more: 'typing.Optional[typing.Literal[K.B]]' = None):\n"
        "    return typing.get_args(f.__annotations__['kind']) == (K.A, K.B), kind is K.A\n",
        "f()",
    ),
    "callables": (
        "import typing, collections.abc as c\n"
        "for n in (int, str, float, set) * 40:\n    typing.Dict[n, typing.List[n]]\n"
        "def g(a: typing.Callable[[int], str], b: c.Callable[[int], str]): ...\n"
        "for n in range(300):\n    typing.Literal[n]\n"
        "def f(a: typing.Callable[[int], str], b: c.Callable[[int], str]):\n"
        "    return g.__annotations__ == f.__annotations__\n",
        "f(1, 2)",
    ),
}
