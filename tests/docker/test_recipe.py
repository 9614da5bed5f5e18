"""What a user asks for becomes a Dockerfile that means it, or is refused."""

from __future__ import annotations

import os
import sys
import tarfile

import pytest

from casflow import Flow
from casflow.errors import ConfigError
from casflow.storage import Docker
from casflow.storage.docker.context import Context
from casflow.storage.docker.dockerfile import Inputs, inputs_of
from casflow.storage.docker.recipe import (
    PYTHON_LABEL,
    Recipe,
    check_files,
    default_base,
    python_version,
)

WHEEL = "casflow-1-py3-none-any.whl"


def text(**options):
    return Recipe("/opt/casflow", base_image="base:1", **options).text("base:1", WHEEL)


def test_the_lines_stand_in_their_order(tmp_path):
    made = text(
        dependencies=("numpy>=1,<3", "it's"),
        variables={"A": "1"},
        files={str(tmp_path / "a.py"): "/x/a.py"},
        commands=("RUN true",),
    )
    assert made.splitlines() == [
        "FROM base:1",
        f"LABEL {PYTHON_LABEL}={python_version()}",
        'ENV A="1"',
        f'COPY [".casflow/{WHEEL}", "/opt/casflow/{WHEEL}"]',
        (
            'RUN ["python", "-m", "pip", "install", "--no-cache-dir", '
            f'"/opt/casflow/{WHEEL}", "numpy>=1,<3", "it\'s"]'
        ),
        'COPY [".casflow/files/0", "/x/a.py"]',
        "RUN true",
    ]


def test_quotes_and_dollars_are_escaped_and_lines_come_as_arguments():
    recipe = Recipe("/opt/casflow", base_image="b", variables={"A": 'a"b\\c$d', "B": "one\ntwo"})
    lines = recipe.text("b", None).splitlines()
    assert 'ENV A="a\\"b\\\\c\\$d"' in lines
    assert lines.index("ARG CASFLOW_VALUE_1") < lines.index('ENV B="${CASFLOW_VALUE_1}"')
    assert recipe.arguments() == {"CASFLOW_VALUE_1": "one\ntwo"}


def test_values_whose_names_differ_in_a_dot_do_not_meet():
    recipe = Recipe("/d", base_image="b", variables={"A.B": "1\n", "A_B": "2\n"})
    assert sorted(recipe.arguments().values()) == ["1\n", "2\n"]


def test_a_wheel_among_the_files_is_there_before_it_is_installed(tmp_path):
    files = {"/own-1-py3-none-any.whl": "/w/", "/other": "/o"}
    made = text(dependencies=("/w/own-1-py3-none-any.whl",), files=files).splitlines()
    kinds = [line.split()[0] for line in made[2:]]
    assert kinds == ["COPY", "COPY", "RUN", "COPY"]
    assert "/w/own-1-py3-none-any.whl" in made[2]


DOCKERFILES = {
    "FROM --platform=linux/amd64 a:1 AS one\nFROM scratch\nfrom b\nFROM one": ["a:1", "b"],
    "ARG V=1\nFROM a:$V": ["a:1"],
    "ARG V=1\nARG N=a:${V}\nFROM ${N}": ["a:1"],
    "ARG V\nFROM a:${V:-2}": ["a:2"],
    "ARG GIVEN=1\nFROM a:$GIVEN": ["a:given"],
    "FROM a\nCOPY --from=b:1 /x /y\nCOPY --from=0 /x /y\nCOPY --from=c /x /y": ["a", "b:1", "c"],
    "FROM a AS One\nFROM b\nCOPY --from=one /x /y": ["a", "b"],
    "# escape=`\nFROM `\na": ["a"],
    "FROM \\\n# why\n\n a": ["a"],
}


@pytest.mark.parametrize("start", DOCKERFILES)
def test_the_images_that_a_dockerfile_names_are_found(start):
    assert inputs_of(start, {"GIVEN": "given"}) == Inputs(tuple(DOCKERFILES[start]), ())


@pytest.mark.parametrize(
    "start",
    [
        "ARG V\nFROM a:$V",
        "FROM a\nARG V=b\nCOPY --from=$V /x /y",
        "FROM a\nADD https://host/x /x",
        'FROM a\nADD ["https://host/x", "/x"]',
        "FROM a:${V%x}",
    ],
)
def test_inputs_that_cannot_be_told_are_named(start):
    assert inputs_of(start, {}).unresolved == (start.splitlines()[-1],)


def test_a_release_of_casflow_can_be_asked_for():
    lines = Recipe("/d", base_image="b", casflow_version="9.9").text("b", None)
    assert '"--no-cache-dir", "casflow==9.9"]' in lines


@pytest.mark.parametrize(
    "options",
    [
        {"base_image": "a", "dockerfile": "b"},
        {"files": {"relative.py": "/a"}},
        {"files": {"C:\\flows\\flow.py": "/a"}},
        {"files": {"/a.py": "C:\\flows"}},
        {"files": {"/a.py": "../outside"}},
        {"casflow_directory": "C:\\casflow"},
        {"prefect_directory": "relative"},
        {"path": "flows\\flow.py"},
        {"env_vars": {"NOT A NAME": "1"}},
        {"env_vars": {"A": "nul\0"}},
        {"python_dependencies": ["six\nRUN touch /evil"]},
        {"base_image": "small:1\nRUN touch /evil"},
        {"base_image": "reg io/small:1"},
        {"files": {"/a.py": "/a\nRUN touch /evil"}},
        {"env_vars": {"A\nRUN": "x"}},
        {"casflow_directory": "/opt\nRUN touch /evil"},
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
    made = Recipe("/opt/casflow", base_image="b", files=files).context("b")
    with made.open() as file, tarfile.open(fileobj=file) as archive:
        read = [archive.extractfile(f".casflow/files/{n}").read() for n in (0, 1)]
    assert read == [b"a", b"b"]


def digest(path):
    made = Context()
    made.add("x", path)
    return made.digest()


def test_the_digest_of_a_context_tells_content_mode_and_name_but_no_time(tmp_path):
    path = tmp_path / "f"
    path.write_text("one")
    first = digest(path)
    path.touch()
    assert digest(path) == first
    path.chmod(0o755)
    assert digest(path) != first
    digests = set()
    for name in "ab":
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / "d" / name).mkdir()
        digests.add(digest(tmp_path / "d"))
    (tmp_path / "d" / "link").symlink_to("a")
    digests.add(digest(tmp_path / "d"))
    (tmp_path / "d" / "link").unlink()
    (tmp_path / "d" / "link").symlink_to("b")
    assert len(digests | {digest(tmp_path / "d")}) == 4


def test_a_tree_goes_in_as_it_is(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "private").write_text("x")
    (tmp_path / "private").chmod(0o600)
    (tmp_path / "to-file").symlink_to("private")
    (tmp_path / "to-folder").symlink_to("empty")
    (tmp_path / "nowhere").symlink_to("/not/there")
    made = Context()
    made.add("x", tmp_path)
    with made.open() as file, tarfile.open(fileobj=file) as archive:
        found = {each.name: (each.type, each.mode & 0o777, each.linkname) for each in archive}
    assert found["x/empty"] == (tarfile.DIRTYPE, 0o755, "")
    assert found["x/private"] == (tarfile.REGTYPE, 0o600, "")
    assert {name: each[2] for name, each in found.items() if each[0] == tarfile.SYMTYPE} == {
        "x/to-file": "private",
        "x/to-folder": "empty",
        "x/nowhere": "/not/there",
    }


def test_a_pipe_in_a_tree_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="neither a file"):
        Context().add("x", tmp_path)


@pytest.mark.parametrize("where", [".dockerignore", "Start.dockerignore", "given"])
def test_what_docker_build_ignores_is_not_sent(tmp_path, where):
    for name in ("keep.txt", "secret.env", "Start"):
        (tmp_path / name).write_text("FROM a")
    if where != ".dockerignore":
        (tmp_path / ".dockerignore").write_text("keep.txt\n")
    (tmp_path / where).write_text("# what is kept out\n*.env\n")
    recipe = Recipe(
        "/d",
        dockerfile=tmp_path / "Start",
        root=tmp_path,
        dockerignore=tmp_path / where if where == "given" else None,
    )
    context, name = recipe.own_context()
    assert name == "Start"
    assert {"keep.txt", "Start"} <= context.entries.keys()
    assert "secret.env" not in context.entries
    assert not any(each.startswith(".casflow") for each in context.entries)


def test_the_default_base_is_this_python():
    assert default_base() == f"python:3.{sys.version_info.minor}-slim"
