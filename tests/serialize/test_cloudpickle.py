"""The versions of cloudpickle: those that casflow knows, newer ones, and one that is all other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cloudpickle
import pytest

from casflow.serialize.compat import TESTED, dumps
from tests.serialize.matrix import CORPUS, IMPORTER, ROOT
from tests.services.presence import cache_folder, missing, program, require

FLOW = """
from casflow.flow import Flow, task


@task
def fail(number):

    raise ValueError(number)


@task
def double(number):
    return 2 * number


with Flow("Numbers") as flow:
    double(2)
"""
REGISTER = """
import json, pathlib, traceback
from casflow.flow.script import flow_from_script
from casflow.serialize import deserialize, digest, serialize
path = pathlib.Path(__file__).parent / "numbers.py"
flow = flow_from_script(path.read_bytes(), path=str(path))
made = serialize(flow)
loaded = deserialize(made.data, attachments=made.attachments)
state = loaded.run()
print(json.dumps({
    "digest": digest(flow), "maps": len(made.attachments), "warnings": made.warnings,
    "successful": state.is_successful(),
}))
"""


@pytest.fixture(scope="session")
def releases() -> dict[str, Path]:
    """Return a folder with each version of cloudpickle that casflow was tested with."""
    require("cloudpickle's releases", "uv", install="uv")
    folders = {}
    for version in TESTED:
        folder = cache_folder() / "cloudpickle" / version
        if not (folder / "cloudpickle").is_dir():
            wanted = ["--no-deps", "--target", str(folder), f"cloudpickle=={version}"]
            done = subprocess.run(
                [program("uv"), "pip", "install", "-q", *wanted],
                cwd=folder.parent.parent,  # not under the exact versions of this project
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                missing("cloudpickle's releases", done.stderr.strip())
        folders[version] = folder
    return folders


def run(cloudpickle_folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python with another cloudpickle."""
    done = subprocess.run(
        [sys.executable, *command],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{cloudpickle_folder}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return done


def other(place: Path, version: str, *changes: tuple[str, str]) -> Path:
    """Return a folder with the cloudpickle that is installed under another version, changed."""
    shutil.copytree(Path(cloudpickle.__file__).parent, place / "cloudpickle")
    init, module = place / "cloudpickle" / "__init__.py", place / "cloudpickle" / "cloudpickle.py"
    text = re.sub(r"(?m)^__version__ = .*$", f'__version__ = "{version}"', init.read_text())
    init.write_text(text)
    text = module.read_text()
    for pattern, new in changes:
        text, count = re.subn(pattern, new, text)
        assert count, pattern
    module.write_text(text)
    return place


def registered(folder: Path, cloudpickle_folder: Path) -> tuple[dict[str, object], str]:
    """Return what becomes of a flow with another cloudpickle, and what it writes to stderr."""
    (folder / "numbers.py").write_text(FLOW)
    (folder / "register.py").write_text(REGISTER)
    done = run(cloudpickle_folder, str(folder / "register.py"))
    return json.loads(done.stdout), done.stderr


def test_every_known_version_gives_the_same_blobs_and_maps(releases, tmp_path):
    """An upgrade of cloudpickle neither makes flows new nor takes files and lines from them."""

    def corpus(version: str) -> dict[str, bytes]:
        place = shutil.copytree(CORPUS, tmp_path / version / "corpus")
        out = tmp_path / version / "out"
        out.mkdir()
        program = IMPORTER.format(
            before=f"import cloudpickle as c; assert c.__version__ == {version!r}"
        )
        run(releases[version], "-c", program, str(place), str(out / "digests.json"), str(out))
        return {file.name: file.read_bytes() for file in out.iterdir() if file.suffix != ".probe"}

    with ThreadPoolExecutor(2) as pool:
        first, *others = pool.map(corpus, TESTED)
    assert any(b"function_cases.py" in each for each in first.values())
    assert all(each == first for each in others)


def test_a_newer_version_that_works_as_known_is_told(tmp_path):
    """A version that casflow was not tested with is named; digest and map are as ever."""
    mine, said = registered(tmp_path, other(tmp_path / "same", cloudpickle.__version__))
    assert mine["successful"]
    assert said == ""
    newer, said = registered(tmp_path, other(tmp_path / "newer", "3.9.0"))
    assert newer == mine
    assert "cloudpickle 3.9.0" in said
    assert "3.1.0 to 3.1.3" in said


@pytest.mark.parametrize(
    "change",
    [
        (r"\b_get_or_create_tracker_id\b", "_track_class"),
        (r"\b_class_reduce\b", "_reduce_class"),
        (r"\b_make_skeleton_class\b", "_build_class"),
        (r"\b_lookup_module_and_qualname\b", "_look_up"),
        (r"\b_decompose_typevar\b", "_take_apart"),
    ],
    ids=lambda change: change[1],
)
def test_a_version_with_other_internals_works_with_a_warning(tmp_path, change):
    """The flow is stored as the new cloudpickle pickles it, and everybody is told."""
    found, said = registered(tmp_path, other(tmp_path / "other", "3.9.0", change))
    assert found["successful"]
    assert not found["maps"]
    assert "its digest may differ" in str(found["warnings"])
    assert "cloudpickle 3.9.0" in str(found["warnings"])
    assert "cloudpickle 3.9.0" in said


def test_a_version_without_its_internal_module_works_with_a_warning(tmp_path):
    """Also the module that casflow imports may be gone."""
    place = other(tmp_path / "other", "4.0.0")
    (place / "cloudpickle" / "cloudpickle.py").rename(place / "cloudpickle" / "_core.py")
    for file in (place / "cloudpickle").glob("*.py"):
        file.write_text(
            file.read_text()
            .replace("from . import cloudpickle", "from . import _core as cloudpickle")
            .replace("from .cloudpickle import", "from ._core import")
        )
    found, said = registered(tmp_path, place)
    assert found["successful"]
    assert "cloudpickle 4.0.0" in said


def test_a_job_for_a_worker_keeps_file_and_line():
    """Pickles that only travel have true tracebacks too."""
    space: dict[str, object] = {}
    exec(compile("\n\ndef fail():\n    raise ValueError\n", "far.py", "exec"), space)
    import pickle

    with pytest.raises(ValueError) as caught:
        pickle.loads(dumps(space["fail"]))()
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.lineno) == ("far.py", 4)
