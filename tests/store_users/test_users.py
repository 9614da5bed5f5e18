"""Three programs that use the public store, and import nothing else of casflow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import casflow
from tests.store.conftest import write

PROGRAMS = sorted(set(Path(__file__).parent.glob("*.py")) - {Path(__file__)})
PUBLIC = {"casflow", "casflow.aio", "casflow.errors"}


@pytest.fixture
def run(home):
    def run(program, *arguments):
        return subprocess.run(
            [sys.executable, Path(__file__).with_name(program), *map(str, arguments)],
            env={**home.environment},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    return run


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_imports_nothing_internal(program):
    imported = set()
    for node in ast.walk(ast.parse(program.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    of_casflow = {name for name in imported if name.partition(".")[0] == "casflow"}
    assert of_casflow
    assert of_casflow <= PUBLIC
    assert "._" not in program.read_text()


def test_a_deploy_is_rolled_back_when_it_is_not_healthy(run, tmp_path):
    folder = write(tmp_path / "app", {"check.txt": "ok", "main.py": "1"})
    stores = (tmp_path / "staging", tmp_path / "production")
    assert run("deploy.py", *stores, folder, "app") == "released app@1"
    write(folder, {"check.txt": "broken"})
    assert run("deploy.py", *stores, folder, "app") == "rolled back to app@1"
    assert casflow.Store(stores[1]).resolve("app@prod").version == 1


def test_artifacts_on_an_event_loop(run, tmp_path):
    assert run("artifacts.py", tmp_path / "store", 4) == "weights of step 0"


def test_a_mirror_of_what_has_a_tag(run, home, tmp_path):
    source = casflow.Store(tmp_path / "source")
    for name in ("a", "b"):
        source.push(write(tmp_path / name, {"file": name}), name)
        source.tag(name, "prod")
    source.push(write(tmp_path / "c", {"file": "c"}), "c")
    assert run("mirror.py", tmp_path / "source", tmp_path / "target") == "2"
    assert run("mirror.py", tmp_path / "source", tmp_path / "target") == "0"
    assert casflow.Store(tmp_path / "target").names() == ["a", "b"]
