"""Flows out of scripts and modules: what is found, what runs, and every way that it fails."""

from __future__ import annotations

import pickle
import sys
import textwrap
import traceback

import cloudpickle
import pytest

from casflow.errors import (
    ConfigError,
    ConflictError,
    DuplicateFlowError,
    FlowModuleNotFoundError,
    FlowNotFoundError,
    LoadError,
    NotAFlowError,
    NotFoundError,
)
from casflow.flow.script import (
    MODULE_PREFIX,
    flow_from_module,
    flow_from_script,
    flows_in_script,
)

HEAD = "from casflow.flow import Flow, Parameter, task\n"
PQ = "p = Flow('p')\nq = Flow('q')\n"


def script(text):
    return (HEAD + textwrap.dedent(text)).encode()


def load(text, name=None):
    return flow_from_script(script(text), name, path="flows/my.py")


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Write modules into a folder of the search path; they are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(HEAD + textwrap.dedent(text))

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_flows_are_found_in_the_order_of_definition():
    assert list(flows_in_script(script("b = Flow('b')\na = Flow('a')"), path="x.py")) == ["b", "a"]


def test_a_flow_is_picked_by_name():
    assert load(PQ, "q").name == "q"
    assert load("p = Flow('p')").name == "p"


def test_one_flow_under_two_names_is_one_flow():
    assert load("f = g = Flow('p')").name == "p"


def test_only_flows_count():
    assert load("class Fake:\n    name = 'fake'\nfake = Fake()\nf = Flow('p')").name == "p"


def test_the_script_is_a_module_of_its_own():
    flow = load("""
        import sys
        flow = Flow("x")
        flow.facts = __name__, __file__, sys.modules[__name__].__dict__ is globals()
        if __name__ == "__main__":
            raise RuntimeError
        """)
    name, file, registered = flow.facts
    assert name == "my"  # as an import from its folder would name it
    assert (file, registered) == ("flows/my.py", True)
    assert name in sys.modules


def test_dataclasses_and_pickles_work():
    flow = load("""
        import pickle
        from dataclasses import dataclass
        from typing import ClassVar, get_type_hints

        @dataclass
        class Point:
            x: int
            kind: "ClassVar[str]" = "point"

        flow = Flow("x")
        flow.point = pickle.loads(pickle.dumps(Point(3)))
        flow.hints = get_type_hints(Point)
        """)
    assert flow.point.x == 3
    assert flow.hints["x"] is int


def test_its_functions_are_pickled_by_value():
    flow = load("""
        @task
        def double(x):
            return helper(x)

        def helper(x):
            return 2 * x

        with Flow("x") as flow:
            double(21)
        """)
    data = cloudpickle.dumps(flow)
    del sys.modules[flow.tasks[0].run.__module__]
    copy = pickle.loads(data)
    assert copy.run().result[copy.tasks[0]].result == 42


def test_each_load_gives_fresh_flows():
    assert load("f = Flow('x')") is not load("f = Flow('x')")


def test_the_bytes_that_are_given_are_what_runs(tmp_path):
    path = tmp_path / "flow.py"
    path.write_text("raise RuntimeError('the file was read')")
    assert flow_from_script(script("f = Flow('given')"), path=str(path)).name == "given"


def test_tracebacks_show_lines_of_a_file_that_is_absent():
    flow = load("""
        @task
        def broken():
            raise ValueError("bad")  # shown

        with Flow("x") as flow:
            broken()
        """)
    error = flow.run().exception
    assert "# shown" in "".join(traceback.format_exception(error))


def test_emoji_and_other_encodings_are_read():
    assert load("f = Flow('emoji-❌')").name == "emoji-❌"
    latin = b"# -*- coding: latin-1 -*-\n" + (HEAD + "f = Flow('caf\xe9')").encode("latin-1")
    assert flow_from_script(latin, path="x.py").name == "caf\xe9"


def test_run_and_register_in_a_script_do_nothing(caplog):
    flow = load("f = Flow('x')\nf.seen = f.run(), f.register('p')")
    assert flow.seen == (None, None)
    assert flow.run().is_successful()
    assert len([record for record in caplog.records if "did nothing" in record.message]) == 2


@pytest.mark.parametrize(
    ("text", "name", "kind", "message"),
    [
        ("", None, FlowNotFoundError, "No flows found in file: flows/my.py"),
        ("", "z", FlowNotFoundError, "No flows found in file: flows/my.py"),
        (
            PQ,
            "z",
            FlowNotFoundError,
            "Flow 'z' not found in file: flows/my.py; Found flows: 'p', 'q'",
        ),
        (PQ, None, ConfigError, "Multiple flows found in file: flows/my.py; name one of 'p', 'q'"),
        ("a = Flow('p')\nb = Flow('p')", "p", DuplicateFlowError, "two flows are named 'p'"),
        (
            "def broken(:",
            None,
            LoadError,
            "the script is not valid Python (invalid syntax): flows/my.py:2",
        ),
        ("  x = 1", None, LoadError, "flows/my.py"),
        ("x = '\0'", None, LoadError, "null bytes"),
        (
            "x = 1\n1 / 0",
            None,
            LoadError,
            "raised ZeroDivisionError: division by zero: flows/my.py:3",
        ),
        ("import sys\nsys.exit(3)", None, LoadError, "raised SystemExit: 3: flows/my.py:3"),
        (
            "import no_such_module",
            None,
            LoadError,
            "No module named 'no_such_module': flows/my.py:2",
        ),
        ("def f():\n    raise KeyError\nf()", None, LoadError, "raised KeyError: flows/my.py:3"),
        ("f = Flow('')", None, LoadError, "A name must be provided for the flow"),
    ],
)
def test_a_bad_script_is_one_line(text, name, kind, message):
    data = (HEAD + text).encode()
    with pytest.raises(kind) as caught:
        flow_from_script(data, name, path="flows/my.py")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_text_are_not_a_script():
    with pytest.raises(LoadError, match="not valid Python"):
        flow_from_script(b"\xff\xfe\x00", path="x.py")


def test_the_errors_have_the_types_of_the_original():
    for kind in (FlowNotFoundError, DuplicateFlowError):
        assert issubclass(kind, ValueError)
    assert issubclass(NotAFlowError, TypeError)
    assert issubclass(FlowModuleNotFoundError, ModuleNotFoundError)
    assert issubclass(FlowNotFoundError, NotFoundError)
    assert issubclass(DuplicateFlowError, ConflictError)


def test_the_cause_is_chained():
    with pytest.raises(LoadError) as caught:
        load("1 / 0")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_script_that_failed_is_no_module():
    before = dict(sys.modules)
    with pytest.raises(LoadError):
        load("raise RuntimeError('unlike any other script')")
    assert sys.modules.get("my") is before.get("my")
    assert not any(name.startswith(MODULE_PREFIX) for name in set(sys.modules) - set(before))


def test_an_interrupt_while_loading_is_an_interrupt():
    with pytest.raises(KeyboardInterrupt):
        load("raise KeyboardInterrupt")


def test_a_module_gives_its_flow(modules):
    modules(
        "mod_a",
        "f = Flow('p')\nclass Box:\n    flow = Flow('boxed')\ndef make():\n    return Flow('made')",
    )
    assert flow_from_module("mod_a").name == "p"
    assert flow_from_module("mod_a", "p").name == "p"
    assert flow_from_module("mod_a:Box.flow", "boxed").name == "boxed"
    assert flow_from_module("mod_a:make").name == "made"
    assert flow_from_module("mod_a:f") is flow_from_module("mod_a")


@pytest.mark.parametrize(
    ("target", "name", "kind", "message"),
    [
        ("no_such_module_here", None, FlowModuleNotFoundError, "no such module"),
        ("mod_b.sub", None, FlowModuleNotFoundError, "no such module"),
        ("", None, ConfigError, "not the name of a module"),
        (".mod_b", None, ConfigError, "not the name of a module"),
        ("mod_b", None, ConfigError, "Multiple flows found in module: mod_b; name one of 'p', 'q'"),
        ("mod_b", "z", FlowNotFoundError, "Failed to find flow 'z' in module: mod_b"),
        (
            "mod_b:nothing.here",
            None,
            FlowNotFoundError,
            "Failed to find flow at: mod_b:nothing.here",
        ),
        ("mod_b:number", None, NotAFlowError, "Object at 'mod_b:number' is a int, not a Flow"),
        ("mod_b:one", None, NotAFlowError, "is a int, not a Flow"),
        ("mod_b:fail", None, LoadError, "the function raised ZeroDivisionError"),
        ("mod_b:p", "q", FlowNotFoundError, "Flow at 'mod_b:p' is named 'p', expected 'q'"),
        ("json", None, FlowNotFoundError, "No flows found in module: json"),
        ("mod_c", None, LoadError, "the module raised ModuleNotFoundError"),
    ],
)
def test_a_bad_module_is_one_line(modules, target, name, kind, message):
    modules("mod_b", PQ + "number = 3\ndef one():\n    return 1\ndef fail():\n    1 / 0")
    modules("mod_c", "import no_such_dependency")
    with pytest.raises(kind) as caught:
        flow_from_module(target, name)
    assert message in str(caught.value)


def test_a_script_that_uses_the_state_of_a_run_is_told_where_to():
    with pytest.raises(LoadError, match=r"NoneType.*below `if __name__ == '__main__':`"):
        load("flow = Flow('p')\nprint(flow.run().result)")
    with pytest.raises(LoadError) as caught:
        load("1 / 0")
    assert "__main__" not in str(caught.value)
