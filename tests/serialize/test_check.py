"""`casflow register --check` and what every registration loads: the place or reason is named."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time

import pytest

from casflow.errors import LoadError
from casflow.serialize.clean import check_loads

FLOW = """
from casflow import Flow, task

ORDER = {0}


@task
def say():
    return ORDER


with Flow("said") as flow:
    say()
"""


def register(folder, value, command=("register", "--check")):
    """Register a script in a home of its own."""
    (folder / "said.py").write_text(FLOW.format(value))
    command = [sys.executable, "-m", "casflow", *command, "-p", "said.py"]
    environment = {**os.environ, "CASFLOW_HOME": str(folder / "home"), "PYTHONHASHSEED": "7"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_flow_that_is_the_same_passes(tmp_path):
    """A script by its path and imported by another, after other imports, is one flow."""
    done = register(tmp_path, "{'a', 'b', 'c'}")
    assert done.returncode == 0, done.stderr
    assert "registered, version 1" in done.stdout


def test_an_order_of_a_set_is_named(tmp_path):
    """What differs from process to process is an error that says where it is."""
    done = register(tmp_path, "list({'alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta'})")
    assert done.returncode != 0
    assert "not reproducible" in done.stderr
    assert "ORDER" in done.stderr


@pytest.mark.slow
def test_a_text_made_of_the_modules_name_is_named(tmp_path):
    """It is one text when the script is registered, and another when something imports it."""
    done = register(tmp_path, "'jobs of ' + __name__")
    assert done.returncode != 0
    assert "ORDER" in done.stderr
    assert "__name__ is another" in done.stderr


@pytest.mark.slow
def test_a_path_of_the_script_is_named(tmp_path):
    """It is another one wherever the project lies."""
    done = register(tmp_path, "__file__")
    assert done.returncode != 0
    assert "ORDER" in done.stderr


@pytest.mark.slow
def test_a_flow_that_does_not_load_is_told_why(tmp_path):
    """A clean process says what it says, before anything is registered."""
    value = "type('Odd', (), {'__reduce__': lambda self: (int, ('seven',))})()"
    done = register(tmp_path, value)
    assert done.returncode != 0
    assert "does not load in a clean process (ValueError" in done.stderr
    assert "registered" not in done.stdout


ODD = """type('Odd', (), {{'__reduce__': lambda self: (int, ({0},))}})()"""


@pytest.mark.parametrize("command", [("register",), ("build",)])
def test_what_never_loads_is_not_stored(tmp_path, command):
    """Its reason is one line, whatever its own text is, and nothing is left behind."""
    done = register(tmp_path, ODD.format(r"'se\nven'"), command)
    assert done.returncode == LoadError.exit_code
    (line,) = done.stderr.strip().splitlines()
    assert "does not load in a clean process (ValueError: invalid literal" in line
    assert "--as-script" in line
    assert not [each for each in (tmp_path / "home").rglob("*") if "said" in each.name]
    assert not (tmp_path / "flows.json").exists()


def test_what_is_unchanged_is_not_loaded_again(tmp_path):
    """A second registration starts no process; an edit does."""
    count = "type('Odd', (), {{'__reduce__': lambda self: (__import__('os').mkdir, ({0!r},))}})()"
    value = count.format(str(tmp_path / "loaded"))
    assert register(tmp_path, value, ("register",)).returncode == 0
    assert (tmp_path / "loaded").is_dir()
    again = register(tmp_path, value, ("register",))  # a second load would find the folder there
    assert again.returncode == 0, again.stderr
    assert "unchanged" in again.stdout
    edited = register(tmp_path, f"[{value}]", ("register",))
    assert "FileExistsError" in edited.stderr


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        ("__import__('os')._exit(9)", "(exit code 9)"),
        ("__import__('os').kill(__import__('os').getpid(), 11)", "(ended by signal 11)"),
        ("__import__('sys').exit('gone')", "(SystemExit: gone)"),
    ],
)
def test_a_process_that_dies_is_told(effect, said):
    """However loading ends, there is a reason."""
    data = pickle.dumps(Effect(effect))
    with pytest.raises(LoadError) as caught:
        check_loads(data, where="said")
    assert said in str(caught.value)


def test_a_clean_process_ends_with_what_it_began(tmp_path):
    """A thread that an object begins when it is loaded holds up nothing, nor does its output."""
    code = "__import__('threading').Thread(target=__import__('time').sleep, args=(60,)).start()"
    started = time.monotonic()
    check_loads(pickle.dumps(Effect(code)), where="said")
    check_loads(pickle.dumps(Effect("print('x' * 1_000_000)")), where="said")
    assert time.monotonic() - started < 30


def test_a_clean_process_knows_installed_packages_alone(tmp_path, monkeypatch):
    """A folder with distributions is searched wherever it lies, and the project is not."""
    for name in ("project", "packages"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}_alone.py").write_text("")
        monkeypatch.syspath_prepend(tmp_path / name)
    (tmp_path / "packages" / "alone-1.dist-info").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    check_loads(pickle.dumps(Effect("__import__('packages_alone')")), where="said")
    with pytest.raises(LoadError, match="ModuleNotFoundError"):
        check_loads(pickle.dumps(Effect("__import__('project_alone')")), where="said")


class Effect:
    """What happens when it is loaded."""

    def __init__(self, code):
        self.code = code

    def __reduce__(self):
        return eval, (self.code,)


def test_where_no_process_can_be_started_it_is_said_and_nothing_is_refused(monkeypatch, caplog):
    monkeypatch.setattr(sys, "executable", "/dev/null/python")
    check_loads(b"no pickle", where="Plain")
    (said,) = caplog.messages
    assert said.startswith("flow Plain was not loaded in a clean process: ")
