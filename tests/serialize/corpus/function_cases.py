"""Functions."""

# ruff: noqa: ICN001, RUF013, PTH118, C416, B905, B006

import asyncio
import collections.abc
import concurrent.futures
import contextlib
import functools
import itertools
import json
import logging
import operator
import os.path
import re
import xml.etree.ElementTree
from datetime import timedelta

from case import Cases

cases = Cases()
add = cases.add
LIMIT = 10
NAMES = {"a", "b", "c", None}
TABLE = {"b": 1, "a": 2}
PATTERN = re.compile(r"a+(b)?")
log = logging.getLogger(__name__)
child_log = logging.getLogger("some.child")


def plain():
    return 1


add("plain", plain)


def documented(x, y=2, *args, z=(1, 2), **kwargs):
    """Say what it does."""
    return x, y, args, z, kwargs


add("documented", documented, "x(1)")


def annotated(x: int, y: "list[str]" = None) -> dict[str, int]:
    return {"x": x}


add("annotated", annotated, "x(1), x.__annotations__")


def uses_global():
    return LIMIT


add("uses_global", uses_global)


def uses_global_set():
    return sorted(NAMES, key=str)


add("uses_global_set", uses_global_set)


def membership(x):
    return x in {"a", "b", "cc", "ddd"}, x in {1, 2.5, None, "q"}


add("membership", membership, "x('a')")


def nested_constant(x):
    return x in {("a", ("b", "c")), ("c", "d")}, ((1, "a"), ("b", (2.0, None)))


add("nested_constant", nested_constant, "x(1)")


def uses_dict():
    return TABLE["a"]


add("uses_dict", uses_dict)


def uses_pattern(text):
    return PATTERN.match(text) is not None


add("uses_pattern", uses_pattern, "x('aab')")


def uses_log():
    log.debug("x")
    child_log.debug("y")


add("uses_log", uses_log)


def helper(x):
    return x + 1


def calls_helper():
    return helper(1)


add("calls_helper", calls_helper)


def many_globals(x):
    return json.dumps(x), os.path.join("a", "b"), operator.add(1, 2), itertools.count, asyncio.run


add("many_globals", many_globals, "x(1)[:3]")


def submodules():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(len, "abc").result(), collections.abc.Mapping.__name__


add("submodules", submodules)


def deep_submodule():
    return xml.etree.ElementTree.fromstring("<a/>").tag


add("deep_submodule", deep_submodule)


def inner_submodule():
    def inner():
        return concurrent.futures.Future.__name__

    return inner()


add("inner_submodule", inner_submodule)
add("lambda", lambda: 3)
add("two_lambdas", [lambda: 1, lambda: 2], "[f() for f in x]")
add("equal_lambdas", [lambda: 1, lambda: 1], "[f() for f in x]")


def make_closure(created, tags):
    def inner(n=0):
        return created, sorted(tags), n

    return inner


add("closure", make_closure([1, 2], {"u", "v", "w"}))
add(
    "closures",
    [make_closure(1, "a"), make_closure(1, "a"), make_closure(2, "b")],
    "[f() for f in x]",
)


def make_counter():
    count = 0

    def step():
        nonlocal count
        count += 1
        return count

    return step


add("counter", make_counter(), "[type(x), x(), x()][2] > 1")


def make_recursive():
    def fact(n):
        return 1 if n < 2 else n * fact(n - 1)

    return fact


add("recursive_closure", make_recursive(), "x(5)")


def make_pair():
    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n):
        return n != 0 and even(n - 1)

    return even, odd


add("mutual_closures", make_pair(), "x[0](4), x[1](4)")


def recursive(n):
    return 1 if n < 2 else n * recursive(n - 1)


add("recursive", recursive, "x(5)")


def ping(n):
    return n if n == 0 else pong(n - 1)


def pong(n):
    return n if n == 0 else ping(n - 1)


add("mutual", ping, "x(3)")


def decorate(times):
    def wrap(function):
        @functools.wraps(function)
        def inner(*args):
            return [function(*args) for _ in range(times)]

        inner.times = times
        return inner

    return wrap


@decorate(2)
def decorated(x):
    """Have a text."""
    return x


add("decorated", decorated, "x(1), x.__name__, x.times, x.__wrapped__(3)")


@functools.lru_cache(maxsize=7)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


add("lru_cache", fib, "x(20), x.cache_parameters(), x.__name__")


@functools.cache
def cached(n):
    return n


def uses_cached():
    return cached(1)


add("cache", uses_cached)
add("partial", functools.partial(documented, 1, y={"k"}), "x()")
add("partial_of_library", functools.partial(json.dumps, sort_keys=True), "x({'b': 1, 'a': 2})")


async def coroutine():
    await asyncio.sleep(0)
    return 5


add("coroutine", coroutine, "__import__('asyncio').run(x())")


def generator(n):
    yield from range(n)


add("generator", generator, "list(x(3))")


@contextlib.contextmanager
def context(n):
    yield n


add("context_manager", context, "x(3).__enter__()")


def comprehension(n):
    return (
        [i for i in range(n) if i in {1, 2, 3}],
        {k: v for k, v in zip("ab", "cd")},
        {i for i in "ab"},
    )


add("comprehension", comprehension, "x(3)[:2]")


def pattern_match(x):
    match x:
        case {"kind": "a", **rest}:
            return rest
        case [1, *others]:
            return others
        case _:
            return None


add("pattern_match", pattern_match, "x([1, 2])")


def catches():
    try:
        return 1 / 0
    except (ZeroDivisionError, ValueError) as error:
        return type(error).__name__
    finally:
        len("x")


add("catches", catches)


def local_class():
    class Local:
        """Text."""

        size = 3

        def go(self):
            return self.size

    return Local().go()


add("local_class", local_class)


def local_class_with_attributes():
    class Local:
        def __init__(self):
            self.alpha = self.beta = self.gamma = self.delta = self.epsilon = 1

    return sorted(vars(Local()))


add("local_class_with_attributes", local_class_with_attributes)


def keyword_only(*, a=frozenset({"x", "y"}), b=None):
    return sorted(a), b


add("keyword_only", keyword_only)


def default_set(a={"p", "q", "r"}):
    return sorted(a)


add("default_set", default_set)


def with_attribute():
    return with_attribute.tag


with_attribute.tag = {"one", "two"}
add("with_attribute", with_attribute, "sorted(x())")


def star_expression(*args, **kwargs):
    return [*args, *kwargs], {**kwargs}, f"{args!r:>10} {LIMIT:05d}"


add("formatting", star_expression, "x(1, a=2)")


def walrus(n):
    while (n := n - 1) > 0:
        if n == 2:
            continue
    return n


add("walrus", walrus, "x(5)")


def imports_inside():
    import base64

    return base64.b64encode(b"x")


add("imports_inside", imports_inside)


def big_constants():
    return 12345678901234567890123, 1.5, -0.0, 2j, b"bytes", "é\udc80", True, ...


add("constants", big_constants, "x()[:5]")


def uses_timedelta():
    return timedelta(days=1)


add("uses_class", uses_timedelta)


def set_of_functions():
    return sorted(f.__name__ for f in FUNCTIONS)


FUNCTIONS = {plain, helper, calls_helper}
add("set_of_functions", set_of_functions)
add("builtin", len, "x([1])")
add("library_function", json.dumps, "x([1])")
add("method_of_library", "abc".upper, "x()")
add("operator", operator.itemgetter(1), "x([1, 2])")

if __name__ == "__main__":
    cases.report()
