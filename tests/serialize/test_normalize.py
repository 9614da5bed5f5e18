"""Every rule is needed: without it, some definition differs that should not."""

# ruff: noqa: ISC004

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from casflow.serialize import normalize

ROOT = Path(__file__).parents[2]

# For each rule the two ways of making one object that only differ in what the rule takes out:
# two sources, or one source in processes of two kinds ("seed", "module", "debug").
PLAIN = "def f():\n    return 1\n"
CLASS = "class C:\n    a = 1\nf = C\n"
NAMES = "['alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta', 'eta', 'theta']"
# The same classes, made in another order, so that they lie at other addresses.
KINDS = [
    f"kinds = [type(n, (), {{'tag': n}}) for n in {names}]\n"
    for names in (NAMES, f"reversed({NAMES})")
]
ENUM = "import enum\nclass E(enum.Enum):\n    A = 1\nf = E\n"
LOCAL = """
def f():
    class L:
        def __init__(self):
            self.{0} = self.{1} = 1
    return L
"""

MODULE = {"how": ("script", "module")}
LINES = {"sources": (PLAIN, "\n\n# a comment\n" + PLAIN)}

RULES = {
    "builtin_type_by_name": {"sources": (PLAIN, "# comment\n" + PLAIN)},
    "code_without_lines": LINES,
    "same_code_once": {
        "sources": ("f = [lambda: 1, lambda: 1]\n",) * 2,
        "how": ("script", "debug"),
    },
    "function_of_same_code": {
        "sources": ("f = [lambda: 1, lambda: 1]\n",) * 2,
        "how": ("script", "debug"),
    },
    "globals_without_place": {"sources": (PLAIN, PLAIN), **MODULE},
    "function_of_script": {"sources": (PLAIN, PLAIN), **MODULE},
    "class_of_script": {"sources": (CLASS, CLASS), **MODULE},
    "enum_of_script": {"sources": (ENUM, ENUM), **MODULE},
    "attribute_of_script": {
        "sources": ("import functools\n@functools.cache\ndef f():\n    return 1\n",) * 2,
        **MODULE,
    },
    "logger_of_script": {
        "sources": ("import logging\nlog = logging.getLogger(__name__)\ndef f():\n    log\n",) * 2,
        **MODULE,
    },
    "class_identity": {"sources": (CLASS, CLASS)},
    "enum_identity": {"sources": (ENUM, ENUM)},
    "typevar_identity": {"sources": ("import typing\nf = typing.TypeVar('f')\n",) * 2},
    "class_without_slot_cache": {
        "sources": (CLASS, CLASS + "import copyreg\ncopyreg._slotnames(C)\n"),
    },
    "abstract_registry_unordered": {
        "sources": tuple(
            kinds + "import abc\nclass R(abc.ABC): pass\nfor k in kinds: R.register(k)\nf = R\n"
            for kinds in KINDS
        ),
    },
    "weak_set_unordered": {
        "sources": tuple(
            kinds + "import weakref\nf = [weakref.WeakSet(kinds), 1]\n" for kinds in KINDS
        ),
    },
    "schema_without_addresses": {
        "sources": (
            "import pydantic\nclass M(pydantic.BaseModel):\n    a: int = 1\nf = M\n",
            "import pydantic\nkept = [object() for _ in range(99999)]\n"
            "class M(pydantic.BaseModel):\n    a: int = 1\nf = M\n",
        ),
    },
    "hash_without_salt": {
        "sources": (
            "import attr\n@attr.s(frozen=True, auto_attribs=True)\n"
            "class C:\n    a: str = 'x'\nf = C\n",
        )
        * 2,
        "how": ("script", "seed"),
    },
    "class_without_line": {"sources": (CLASS, "# comment\n" + CLASS)},
    "class_without_static_attributes": {
        "sources": (
            "class C:\n    def __init__(self): self.a = 1\nf = C\n",
            "class C:\n    def __init__(self): self.a = 1\n"
            "C.__static_attributes__ = ('z', 'a')\nf = C\n",
        ),
    },
    "class_body_without_line": {
        "sources": (LOCAL.format("a", "b"), "# comment\n" + LOCAL.format("a", "b")),
    },
    "class_body_in_order": {},
}  # fmt: skip

# What 3.13 puts into classes by itself is written out where the interpreter does not.
WRITTEN = {
    "class_without_line": [f"class C:\n    __firstlineno__ = {line}\nf = C\n" for line in (1, 2)],
    "class_without_static_attributes": [
        f"class C:\n    __static_attributes__ = {names}\nf = C\n"
        for names in (("a", "z"), ("z", "a"))
    ],
    "class_body_without_line": [
        f"def f():\n    class L:\n        __firstlineno__ = {line}\n    return L\n"
        for line in (2, 3)
    ],
    "class_body_in_order": [
        f"def f():\n    class L:\n        __static_attributes__ = {names}\n    return L\n"
        for names in (("a", "z"), ("z", "a"))
    ],
}
if sys.version_info < (3, 13):
    RULES.update({name: {"sources": sources} for name, sources in WRITTEN.items()})

CHILD = """
import sys, importlib
sys.path[:0] = [{root!r}, {folder!r}]
from casflow.serialize import digest, normalize
def tell(f):
    print(digest(f))
    normalize.RULES[:] = [each for each in normalize.RULES if each[1].__name__ != {drop!r}]
    print(digest(f))
if {how!r} == "module":
    import etl
    tell(etl.f)
else:
    source = open({folder!r} + "/etl.py").read() + "\\ntell(f)"
    main = sys.modules["__main__"]
    vars(main)["__file__"] = {folder!r} + "/etl.py"
    exec(compile(source, {folder!r} + "/etl.py", "exec"), vars(main))
"""


def digests(folder, case, drop):
    """Return the digests that the ways of a case give: with all rules, and without one."""
    ways = case.get("how", ("script", "script"))
    found = []
    for at in range(2):
        place = folder / f"way{at}"
        place.mkdir()
        (place / "etl.py").write_text(case["sources"][at % 2])
        text = CHILD.format(root=str(ROOT), folder=str(place), drop=drop, how=ways[at % 2])
        flags = ["-X", "no_debug_ranges"] if ways[at % 2] == "debug" else []
        environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": str(at)}
        done = subprocess.run(
            [sys.executable, *flags, "-c", text],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.split())
    return map(set, zip(*found, strict=True))


def test_every_rule_has_a_case():
    """Whoever adds a rule adds a case here."""
    assert {function.__name__ for _, function in normalize.RULES} <= set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_rule_is_needed(name, tmp_path):
    """With all rules the two ways agree; without this one they do not."""
    case = RULES[name]
    if "sources" not in case:
        pytest.skip("this interpreter writes the names in order already")
    whole, without = digests(tmp_path, case, name)
    assert len(whole) == 1
    if name in {function.__name__ for _, function in normalize.RULES}:
        # The others were taken out, or never put in, by the reduction of the live object.
        assert len(without) > 1


LAMBDAS = """
def f(n):
    names = {names}
    pairs = [lambda: n, lambda: n], {{"a": lambda x: x + 1, "b": lambda x: x + 1}}, "last"
    return names and pairs[0][1]() + pairs[1]["b"](n), pairs[2]
"""


@pytest.mark.parametrize("count", [1, 300])
def test_equal_functions_of_one_line_are_one(tmp_path, count):
    """`-X no_debug_ranges` lets the compiler store them once; loaded, they do the same."""
    names = tuple(f"name {n}" for n in range(count))
    listed = "[" + ", ".join(f"{name!r} + str(n)" for name in names) + "]"
    (tmp_path / "lambdas.py").write_text(LAMBDAS.format(names=listed))
    program = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import lambdas, casflow;"
        "sys.stdout.buffer.write(casflow.dumps(lambdas.f))"
    )
    made = [
        subprocess.check_output([sys.executable, "-B", *flags, "-c", program])
        for flags in ((), ("-X", "no_debug_ranges"))
    ]
    assert made[0] == made[1]
    assert pickle.loads(made[0])(3) == (7, "last")
