"""What a newcomer types: the README's commands, and casflow from a wheel, an sdist, and a clone."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, fences, opening_commands
from tests.services.presence import missing, program, require

PAGE = ROOT / "docs" / "install.md"
FLOW = """
from casflow import Flow, task

def clean(number):
    return int(number)

@task
def load(number):
    return clean(number)

with Flow("Numbers") as flow:
    load("2")
"""


def uv(*arguments: object, cwd: Path = ROOT) -> None:
    """Run uv, which may want the package index for what builds and runs casflow."""
    require("package index", "uv", install="uv")
    command = [program("uv"), *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode and re.search("(?i)dns|connect|timed out|client error", done.stderr):
        missing("package index", "it cannot be reached")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and an sdist of this tree."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "-q", "--wheel", "--sdist", "--out-dir", folder)
    return folder


def test_the_readme_opens_with_two_commands_that_touch_nothing_but_the_clone():
    """Pythons of distributions refuse pip outside of a virtual environment."""
    demo, tests = opening_commands()
    for command in (demo, tests):
        assert command.startswith("python3 -m venv .")
        assert all(
            part.strip().startswith((".", "python3 -m venv")) for part in command.split("&&")
        )
    assert demo.endswith("casflow demo")
    assert tests.endswith("uv run pytest")
    for folder in re.findall(r"venv (\S+)", f"{demo} {tests}"):
        assert f"{folder}/" in (ROOT / ".gitignore").read_text().split()


def test_the_page_of_a_package_index_has_links_that_lead_somewhere(built):
    """The README's links to files of the repository are absolute in the wheel."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        name = next(each for each in wheel.namelist() if each.endswith("/METADATA"))
        metadata = email.message_from_bytes(wheel.read(name))
    links = re.findall(r"\]\(([^)]+)\)", str(metadata.get_payload()))
    assert links
    assert all(link.startswith("https://") for link in links)
    assert {each.split(",")[0] for each in metadata.get_all("Project-URL")} >= {"Documentation"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_the_demo_and_a_flow_with_a_helper_run_from_every_install(kind, built, tmp_path):
    """Outside of the clone, with nothing but what casflow itself needs."""
    what = {
        "wheel": [next(built.glob("*.whl"))],
        "sdist": [next(built.glob("*.tar.gz"))],
        "editable": ["--editable", ROOT],
    }[kind]
    place = tmp_path / "venv"
    uv("venv", "-q", "--python", sys.executable, place)
    uv("pip", "install", "-q", "--python", place / "bin" / "python", *what, cwd=tmp_path)
    installed = list(place.glob("lib/*/site-packages/*.dist-info"))
    assert 10 < len(installed) <= 40
    script = installed[0].parent / "flow.py"
    script.write_text(FLOW)
    for arguments in (["demo"], ["register", "--path", str(script)], ["run", "Numbers"]):
        done = subprocess.run(
            [place / "bin" / "casflow", *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_home_is_backed_up_and_restored_as_the_page_says(home, tmp_path):
    """Every version of the restored home is verified and runs."""
    home.casflow("register", "--path", home.script())
    (home.path / "config.toml").write_text('cache_limit = "1 GB"\n')
    backup, restore = (
        each.text for each in fences(ROOT / "docs" / "backup.md") if each.language == "sh"
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**home.environment, "PATH": path}
    references, blobs = home.references(), home.blobs()
    subprocess.run(["sh", "-ec", backup], cwd=tmp_path, env=environment, check=True)
    home.path.rename(tmp_path / "lost")
    subprocess.run(["sh", "-ec", restore], cwd=tmp_path, env=environment, check=True)
    assert home.json("run", "Plain", "-P", "n=4")["cache"] == "miss"
    assert (home.references(), home.blobs()) == (references, blobs)
    assert (home.path / "config.toml").read_text() == 'cache_limit = "1 GB"\n'


def test_every_extra_is_on_the_page():
    """The table of extras is that of the distribution."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    text = PAGE.read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == sorted(extras)
