"""What the pages show can be typed: their Python runs, and their commands print what is shown."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from casflow.storage.plugins import CLASSES
from tests.docs.pages import ROOT, commands, fences

DOCS = ROOT / "docs"
TUTORIAL = [
    ROOT / "README.md",
    *(
        DOCS / name
        for name in (
            "index.md",
            "tutorial.md",
            "kinds.md",
            "rollback.md",
            "security.md",
            "trees.md",
        )
    ),
]
WITH_PYTHON = [ROOT / "README.md", DOCS / "tutorial.md", DOCS / "storages.md"]


def scripts():
    """Return the Python of all pages that is not the text of a file, with its page and line."""
    for page in WITH_PYTHON:
        for fence in fences(page):
            if fence.language == "python" and fence.file is None:
                yield pytest.param(fence.text, id=f"{page.stem}:{fence.line}")


@pytest.mark.parametrize("text", list(scripts()))
def test_python_runs(text, home, tmp_path):
    for name in re.findall(r"from casflow\.storage import (\w+)", text):
        if name not in CLASSES:
            pytest.skip(f"there is no {name} storage")
    script = tmp_path / "example.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        env=home.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIAL, ids=lambda page: page.stem)
def test_commands_print_what_is_shown(page, home, tmp_path):
    for fence in fences(page):
        if fence.file is not None:
            (tmp_path / fence.file).write_text(fence.text)
        if fence.language != "console":
            continue
        for command, shown in commands(fence):
            done = subprocess.run(
                ["sh", "-c", command],
                env=home.environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            told = f"{command}\nshown:\n{shown}\nprinted:\n{done.stdout}{done.stderr}"
            assert done.returncode == 0, told
            assert is_as_shown(done.stdout, shown), told


def is_as_shown(printed, shown):
    """Tell whether a text is the one that is shown; an ellipsis stands for anything."""
    pattern = re.escape(shown.strip()).replace("…", ".*")
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def test_an_ellipsis_stands_for_anything_and_nothing_else_does():
    assert is_as_shown("one two\nthree\n", "one …")
    assert is_as_shown("one two\nthree\n", "…two\nthree")
    assert not is_as_shown("one two\nthree\n", "one two")
    assert not is_as_shown("one (two)", "one .two.")
