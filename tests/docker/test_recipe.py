"""What a user asks for becomes a Dockerfile that means it, or is refused."""

from __future__ import annotations

import sys
import tarfile

import pytest

from casflow import Flow
from casflow.storage import Docker
from casflow.storage.docker.context import Context
from casflow.storage.docker.recipe import Recipe, check_files, default_base

WHEEL = "casflow-1-py3-none-any.whl"


def text(**options):
    return Recipe("/opt/casflow", base_image="base:1", **options).text({}, WHEEL)


def test_the_lines_stand_in_their_order(tmp_path):
    made = text(
        dependencies=("numpy>=1,<3", "it's"),
        variables={"A": "1"},
        files={str(tmp_path / "a.py"): "/x/a.py"},
        commands=("RUN true",),
    )
    assert made.splitlines() == [
        "FROM base:1",
        'ENV A="1"',
        f'COPY [".casflow/{WHEEL}", "/opt/casflow/"]',
        f"RUN python -m pip install --no-cache-dir /opt/casflow/{WHEEL} 'numpy>=1,<3' 'it'\"'\"'s'",
        'COPY [".casflow/files/0/a.py", "/x/a.py"]',
        "RUN true",
    ]


def test_quotes_and_dollars_are_escaped_and_lines_come_as_arguments():
    recipe = Recipe("/opt/casflow", base_image="b", variables={"A": 'a"b\\c$d', "B": "one\ntwo"})
    lines = recipe.text({}, None).splitlines()
    assert 'ENV A="a\\"b\\\\c\\$d"' in lines
    assert lines.index("ARG CASFLOW_VALUE_OF_B") < lines.index('ENV B="${CASFLOW_VALUE_OF_B}"')
    assert recipe.arguments() == {"CASFLOW_VALUE_OF_B": "one\ntwo"}


def test_a_dockerfile_is_kept_as_it_is_and_its_bases_are_found():
    start = "FROM --platform=linux/amd64 a:1 AS one\nFROM scratch\nfrom b\nFROM one\nFROM ${X}"
    recipe = Recipe("/opt/casflow", dockerfile=start)
    assert recipe.text({}, WHEEL).startswith(f"{start}\n")
    assert recipe.bases() == ["a:1", "b"]


def test_a_release_of_casflow_can_be_asked_for():
    lines = Recipe("/d", base_image="b", casflow_version="9.9").text({}, None)
    assert "pip install --no-cache-dir casflow==9.9" in lines


@pytest.mark.parametrize(
    "options",
    [
        {"base_image": "a", "dockerfile": "b"},
        {"files": {"relative.py": "/a"}},
        {"files": {"C:\\flows\\flow.py": "/a"}},
        {"files": {"/a.py": "C:\\flows"}},
        {"files": {"/a.py": "relative"}},
        {"casflow_directory": "C:\\casflow"},
        {"prefect_directory": "relative"},
        {"path": "flows\\flow.py"},
        {"env_vars": {"NOT A NAME": "1"}},
        {"env_vars": {"A": "nul\0"}},
        {"builder": "registry"},
        {"builder": "other", "registry_url": "reg.io"},
    ],
)
def test_what_cannot_be_meant_is_refused(options):
    with pytest.raises(ValueError):
        Docker(**options)


def test_a_script_needs_a_path():
    with pytest.raises(ValueError, match="`path` must be provided"):
        Docker(stored_as_script=True).add_flow(Flow("a"))


def test_an_image_without_a_name_has_none():
    with pytest.raises(ValueError, match="missing required fields image_name and image_tag"):
        str(Docker().name)
    assert Docker(image_name="img", image_tag="t").name == "img:t"
    assert Docker("reg.io/team", image_name="img", image_tag="t").name == "reg.io/team/img:t"


def test_the_callers_lists_stay_as_they_are():
    given = {"python_dependencies": ["a"], "env_vars": {"A": "1"}, "build_kwargs": {"rm": False}}
    storage = Docker(**given)
    storage.build_kwargs["rm"] = True
    storage.env_vars["B"] = "2"
    assert given == {
        "python_dependencies": ["a"],
        "env_vars": {"A": "1"},
        "build_kwargs": {"rm": False},
    }
    assert storage.env_vars["CASFLOW_HOME"] == "/opt/casflow"


def test_the_home_in_the_image_follows_the_directory_unless_it_is_given():
    assert Docker(prefect_directory="/d").env_vars["CASFLOW_HOME"] == "/d"
    assert Docker(env_vars={"CASFLOW_HOME": "/e"}).env_vars["CASFLOW_HOME"] == "/e"


def test_files_of_one_base_name_do_not_meet(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.py").write_text(folder)
    files = check_files({str(tmp_path / each / "x.py"): f"/{each}.py" for each in "ab"})
    made = Recipe("/opt/casflow", base_image="b", files=files).context({})
    with made.open() as file, tarfile.open(fileobj=file) as archive:
        read = [archive.extractfile(f".casflow/files/{n}/x.py").read() for n in (0, 1)]
    assert read == [b"a", b"b"]


def test_the_digest_of_a_context_tells_content_mode_and_name_but_no_time(tmp_path):
    path = tmp_path / "f"
    path.write_text("one")
    first = Context({"f": path}).digest()
    path.touch()
    assert Context({"f": path}).digest() == first
    path.chmod(0o755)
    assert Context({"f": path}).digest() != first
    assert len({Context({name: b"x"}).digest() for name in "ab"}) == 2


def test_ignored_files_and_folders_stay_out(tmp_path):
    for name in ("keep.txt", "drop.log"):
        (tmp_path / name).write_text(name)
    made = Context()
    made.add_tree(tmp_path, ["*.log"])
    made.add("more", tmp_path)
    assert sorted(made.files) == ["keep.txt", "more/drop.log", "more/keep.txt"]


def test_the_default_base_is_this_python():
    assert default_base() == f"python:3.{sys.version_info.minor}-slim"
