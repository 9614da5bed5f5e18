"""Flows of an importable module."""

from __future__ import annotations

import importlib
import py_compile
import sys
import zipfile

import pytest

from casflow.errors import ConfigError, IntegrityError, NotFoundError
from casflow.flow import Flow
from casflow.storage import Module
from tests.sources.conftest import restored, script


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Write a module that can be imported; it is forgotten after the test."""
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))

    def install(text, name="flows_of_the_tests"):
        (tmp_path / "lib").mkdir(exist_ok=True)
        (tmp_path / "lib" / f"{name}.py").write_text(text)
        sys.modules.pop(name, None)
        return name

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield install
    sys.modules.pop("flows_of_the_tests", None)


def register(storage, name="my-flow"):
    storage.add_flow(Flow(name))
    storage.build()
    return storage.serialize()


def test_a_module_gives_the_very_object_that_it_holds(installed):
    module = installed(script("one"))
    form = register(Module(module))
    flow = restored(form).get_flow("my-flow")
    assert flow is sys.modules[module].flow
    assert form["flows"] == {"my-flow": module}


def test_an_attribute_is_followed(installed):
    module = installed(script("one"))
    storage = Module(f"{module}:flow")
    register(storage)
    assert storage.get_flow("my-flow").mark == "one"


def test_a_flow_that_the_module_does_not_hold(installed):
    storage = Module(installed(script("one")))
    storage.flows["other"] = storage.module
    with pytest.raises(ValueError, match=r"not found in module|Failed to find flow"):
        storage.get_flow("other")


def test_a_module_that_is_not_installed_is_named():
    storage = Module("no_such_module_here")
    with pytest.raises(NotFoundError, match="no_such_module_here"):
        register(storage)


@pytest.mark.parametrize("kind", ["bytecode", "zip"])
def test_a_module_without_source_has_the_digest_of_its_file(installed, tmp_path, monkeypatch, kind):
    name = f"bare_flows_{kind}"
    lib = tmp_path / "lib"
    installed(script("one"), name)
    if kind == "zip":
        archive = tmp_path / "lib.zip"
        with zipfile.ZipFile(archive, "w") as made:
            made.write(lib / f"{name}.py", f"{name}.py")
        monkeypatch.syspath_prepend(str(archive))
    else:
        py_compile.compile(str(lib / f"{name}.py"), str(lib / f"{name}.pyc"), doraise=True)
    (lib / f"{name}.py").unlink()
    importlib.invalidate_caches()
    form = register(Module(name))
    assert restored(form).get_flow("my-flow").mark == "one"
    sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["a_folder_of_modules", "sys"])
def test_a_module_of_no_file_is_said_to_be_one(tmp_path, monkeypatch, name):
    (tmp_path / "a_folder_of_modules").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(NotFoundError, match=r"no such module|of no file"):
        register(Module(name))


def test_a_duplicate_name_is_a_conflict(installed):
    storage = Module(installed(script("one")))
    storage.add_flow(Flow("my-flow"))
    with pytest.raises(ValueError, match="Name conflict"):
        storage.add_flow(Flow("my-flow"))


def test_a_pinned_module_that_changed_is_refused(installed):
    form = register(Module(installed(script("one")), pin=True))
    installed(script("two"))
    with pytest.raises(IntegrityError, match="not the one that was registered"):
        restored(form).get_flow("my-flow")


def test_a_module_that_is_not_pinned_is_followed(installed):
    form = register(Module(installed(script("one"))))
    installed(script("two"))
    assert restored(form).get_flow("my-flow").mark == "two"


def test_a_relative_name_is_refused():
    with pytest.raises((ConfigError, NotFoundError)):
        register(Module(".relative"))
