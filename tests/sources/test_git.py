"""The storage of git's own protocol: neighbours, addresses, and what reaches the disk."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from casflow.digests import digest_of, hex_of
from casflow.errors import ConfigError, IntegrityError, LoadError, NotFoundError
from casflow.flow import Flow
from casflow.reference import TREE
from casflow.storage import Git, GitHub, GitLab, load
from casflow.trees.scan import scan
from tests.hosts.repository import Link, Submodule
from tests.sources.conftest import PATH, restored, script

BESIDE = """\
import json
from pathlib import Path
from casflow.flow import Flow
import helper_mod
from package.inner import VALUE
data = json.loads((Path(__file__).parent / "data.json").read_text())
flow = Flow("my-flow")
flow.mark = [helper_mod.VALUE, VALUE, data]
def late():
    import late_mod
    return late_mod.VALUE
flow.late = late
"""


def neighbours(value):
    return {
        "flows/my_flow.py": BESIDE,
        "flows/helper_mod.py": f"VALUE = 'helper {value}'\n",
        "flows/late_mod.py": f"VALUE = 'late {value}'\n",
        "flows/package/__init__.py": "",
        "flows/package/inner.py": f"VALUE = 'inner {value}'\n",
        "flows/data.json": f'"data {value}"',
        "unrelated/big.bin": b"\0" * 100_000,
    }


@pytest.fixture
def at_home(repository):
    """A storage that reads the repository by its path."""

    def make(**options):
        return Git(options.pop("path", PATH), repo=str(repository.folder), **options)

    return make


def open_flow(storage, name="my-flow"):
    storage.flows[name] = storage.path
    return storage.load_flow(name)


def test_neighbours_are_imported_and_read(repository, at_home):
    repository.commit(neighbours(1))
    opened = open_flow(at_home())
    assert opened.flow.mark == ["helper 1", "inner 1", "data 1"]
    assert opened.flow.late() == "late 1"
    assert opened.reference.media_type == TREE
    assert not opened.hit
    again = open_flow(at_home())
    assert again.hit
    assert again.flow.late() == "late 1"


@pytest.mark.parametrize("folder", ["file/cache", "file"])
def test_a_flow_runs_where_no_cache_can_be(repository, at_home, tmp_path, monkeypatch, folder):
    repository.commit(neighbours(1))
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("CASFLOW_CACHE_DIR", str(tmp_path / folder))
    assert open_flow(at_home()).flow.late() == "late 1"
    assert open_flow(at_home()).flow.late() == "late 1"


def test_neighbours_are_part_of_what_is_hashed(repository, at_home):
    repository.commit(neighbours(1))
    first = open_flow(at_home())
    repository.commit({"flows/helper_mod.py": "VALUE = 'changed'\n"})
    second = open_flow(at_home())
    assert second.reference.digest != first.reference.digest
    assert second.flow.mark[0] == "changed"
    repository.commit({"unrelated/big.bin": b"x"})
    assert open_flow(at_home()).reference.digest == second.reference.digest


def test_two_trees_in_one_process_do_not_mix(repository, at_home):
    repository.commit(neighbours(1))
    open_flow(at_home())
    repository.commit(neighbours(2))
    opened = open_flow(at_home())
    assert opened.flow.mark == ["helper 2", "inner 2", "data 2"]
    assert opened.flow.late() == "late 2"


def test_a_tree_has_one_digest_in_every_process(repository, at_home, tmp_path):
    repository.commit(neighbours(1))
    program = """
        import os, sys
        os.environ["CASFLOW_HOME"] = sys.argv[2]
        from casflow.storage import Git, GitHub, GitLab, load
        storage = Git("flows/my_flow.py", repo=sys.argv[1])
        storage.flows["my-flow"] = "flows/my_flow.py"
        print(storage.reference("my-flow").digest)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(repository.folder)]
    found = {
        subprocess.run([*command, str(tmp_path / str(n))], capture_output=True, check=True).stdout
        for n in range(3)
    }
    assert found == {f"{open_flow(at_home()).reference.digest}\n".encode()}


def test_a_tree_of_git_is_the_tree_of_the_same_folder(repository, at_home, tmp_path):
    repository.commit(neighbours(1))
    storage = at_home()
    digest = open_flow(storage).reference.digest
    for name, text in neighbours(1).items():
        path = tmp_path / "checked out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    assert scan(tmp_path / "checked out/flows").digest == digest
    assert storage.get_listing("my-flow").digest == digest


def test_names_that_no_tree_can_hold_are_left_out_and_said(repository, at_home, caplog):
    repository.commit(neighbours(1) | {"flows/aux.txt": "x", "flows/what?": "y"})
    storage = at_home()
    with caplog.at_level(logging.WARNING, "casflow"):
        assert open_flow(storage).flow.late() == "late 1"
    assert "flows/aux.txt" in caplog.text
    assert "flows/what?" in caplog.text
    assert "what?" not in storage.get_listing("my-flow").by_path


def test_a_tree_that_was_evicted_is_read_again(repository, at_home):
    commit = repository.commit(neighbours(1))
    storage = at_home(commit=commit)
    open_flow(storage)
    digest = storage.reference("my-flow").digest
    storage.cache.folders.release(hex_of(digest))
    storage.cache.prune(0)
    again = at_home(commit=commit)
    assert not open_flow(again).hit
    assert again.get_listing("my-flow").digest == digest


def test_a_script_alone_in_its_folder_has_the_digest_of_its_bytes(repository, at_home):
    repository.commit({PATH: script("one"), "other/file": "x"})
    assert open_flow(at_home()).reference.digest == digest_of(script("one").encode())


def test_a_script_at_the_top_brings_the_whole_tree(repository, at_home):
    repository.commit({"my_flow.py": "import lib.a\n" + script("top"), "lib/a.py": "A = 1\n"})
    assert open_flow(at_home(path="my_flow.py")).flow.mark == "top"


def test_links_count_as_the_file_that_they_name(repository, at_home, caplog):
    files = neighbours(1) | {
        "flows/helper_mod.py": Link("../shared/helper.py"),
        "flows/dangling.py": Link("nowhere.py"),
        "flows/outside.py": Link("../../etc/passwd"),
        "flows/vendor": Submodule(),
        "shared/helper.py": "VALUE = 'shared'\n",
    }
    repository.commit(files)
    with caplog.at_level(logging.WARNING, "casflow"):
        assert open_flow(at_home()).flow.mark[0] == "shared"
    assert "flows/dangling.py" in caplog.text
    assert "flows/outside.py" in caplog.text


def test_only_what_is_needed_is_fetched(repository, serve):
    for number in range(5):
        repository.commit({"unrelated/big.bin": bytes([number]) * 10, PATH: script(number)})
    sizes = []
    host = serve("git")
    real = host.dispatch

    def measured(request):
        answer = real(request)
        sizes.append(len(answer.body))
        return answer

    host.dispatch = measured
    import random

    repository.commit({"unrelated/big.bin": random.Random(1).randbytes(3_000_000)})
    opened = open_flow(Git(PATH, repo=f"{host.url}/org/repo.git"))
    assert opened.flow.mark == 4
    assert sum(sizes) < 10_000


def test_of_many_files_only_those_beside_the_script_are_fetched(repository, serve, monkeypatch):
    monkeypatch.setattr("casflow.storage.git._LARGE", 10)
    host = serve("git")

    def fetches(**files):
        repository.commit({PATH: script("one"), **files})
        host.forget()
        open_flow(Git(PATH, repo=f"{host.url}/org/repo.git"))
        return host.asked.count("fetch")

    assert fetches() == 1
    many = {f"unrelated/{number}": str(number) for number in range(20)}
    assert fetches(**many) == 1  # it is only then known that there are many
    assert fetches(more="files") == 2


def test_a_large_file_beside_the_script_is_fetched_too(repository, serve):
    large = "x = 1\n" * 20_000
    repository.commit({PATH: script("one"), "flows/large.py": large})
    host = serve("git")
    storage = Git(PATH, repo=f"{host.url}/org/repo.git")
    open_flow(storage)
    assert storage.get_listing("my-flow").size > len(large)
    assert host.asked.count("fetch") == 2


def test_an_older_commit_is_run_when_it_is_asked_for(repository, at_home):
    first = repository.commit({PATH: script("first")})
    repository.commit({PATH: script("second")})
    assert open_flow(at_home(commit=first)).flow.mark == "first"


def test_a_commit_that_no_branch_reaches_is_still_found(repository, serve):
    lost = repository.commit({PATH: script("lost")}, "work")
    repository.delete("work")
    repository.commit({PATH: script("trunk")})
    host = serve("git")
    storage = Git(PATH, repo=f"{host.url}/org/repo.git", commit=lost)
    assert open_flow(storage).flow.mark == "lost"


def test_a_server_that_cannot_filter_is_used_as_it_is(repository, serve):
    repository.git("config", "uploadpack.allowFilter", "false")
    repository.commit(neighbours(1))
    opened = open_flow(Git(PATH, repo=f"{serve('git').url}/org/repo.git"))
    assert opened.flow.mark == ["helper 1", "inner 1", "data 1"]


def test_an_old_server_gives_an_older_commit_by_its_history(repository, serve):
    first = repository.commit({PATH: script("first")})
    repository.commit({PATH: script("second")})
    host = serve("git")
    host.newest_protocol = False
    address = f"{host.url}/org/repo.git"
    assert open_flow(Git(PATH, repo=address)).flow.mark == "second"
    assert open_flow(Git(PATH, repo=address, commit=first)).flow.mark == "first"
    with pytest.raises(NotFoundError):
        open_flow(Git(PATH, repo=address, commit="12" * 20))


def test_nothing_is_left_of_a_fetch(repository, at_home):
    repository.commit(neighbours(1))
    storage = at_home()
    open_flow(storage)
    assert list((storage.cache.root / "git").iterdir()) == []


def test_a_tree_that_was_changed_on_disk_is_not_run(repository, at_home):
    commit = repository.commit(neighbours(1))
    storage = at_home(commit=commit)
    reference = open_flow(storage).reference
    path = storage.cache.folders.path(hex_of(reference.digest)) / "helper_mod.py"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"helper 1", b"hacked 1"))
    assert open_flow(at_home(commit=commit)).flow.mark[0] == "helper 1"


def test_a_bundle_that_was_registered_earlier_is_still_read(tmp_path):
    from casflow.flow.bundle import flow_from_bundle, pack

    text = (
        "import beside\nfrom casflow.flow import Flow\nflow = Flow('old')\nflow.mark = beside.VALUE"
    )
    data = pack("flow.py", {"flow.py": text.encode(), "beside.py": b"VALUE = 7"})
    assert flow_from_bundle(data, "old", where="here").mark == 7


@pytest.mark.parametrize("name", ["../up.py", "/abs.py", "a/../../up.py", ""])
def test_a_bundle_that_leads_out_of_its_folder_is_refused(name):
    from casflow.flow.bundle import pack, unpack

    with pytest.raises(IntegrityError):
        unpack(pack("flow.py", {"flow.py": b"", name: b"x"}), where="here")


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b"{}\n"])
def test_a_damaged_bundle_is_refused(change):
    from casflow.flow.bundle import pack, unpack

    with pytest.raises(IntegrityError, match="damaged"):
        unpack(change(pack("flow.py", {"flow.py": b"abc"})), where="here")


def test_an_error_in_a_neighbour_is_a_load_error(repository, at_home):
    repository.commit(neighbours(1) | {"flows/helper_mod.py": "1/0\n"})
    with pytest.raises(LoadError, match="ZeroDivisionError"):
        open_flow(at_home())


ADDRESSES = [
    ({"repo": "o/r"}, "https://github.com/o/r.git"),
    ({"repo": "o/r", "repo_host": "gitlab.com"}, "https://gitlab.com/o/r.git"),
    ({"repo": "o/r", "use_ssh": True}, "git@github.com:o/r.git"),
    ({"repo": "o/r", "repo_host": "h", "use_ssh": True}, "git@h:o/r.git"),
    ({"repo": "/srv/r.git"}, "/srv/r.git"),
    ({"repo": "ssh://git@h/o/r.git"}, "ssh://git@h/o/r.git"),
    ({"repo": "o/r", "git_token_secret_name": "T"}, "https://github.com/o/r.git"),
]


@pytest.mark.parametrize(("options", "address"), ADDRESSES)
def test_the_address_of_a_repository(options, address):
    assert Git("f.py", **options).address == address


@pytest.mark.parametrize(
    ("options", "credential"),
    [
        ({}, "o:token"),
        ({"git_token_username": "me"}, "me:token"),
        ({"format_access_token": False}, "token:"),
    ],
)
def test_the_credential_of_a_repository(monkeypatch, options, credential):
    monkeypatch.setenv("T", "token")
    storage = Git("f.py", "o/r", git_token_secret_name="T", **options)
    assert storage._credential() == credential


def test_an_address_from_a_secret_is_used_and_not_shown(repository, serve, monkeypatch):
    repository.commit({PATH: script("one")})
    host = serve("git", token="me:sentinel-url")
    url = host.url.replace("//", "//me:sentinel-url@") + "/org/repo.git"
    monkeypatch.setenv("CLONE_URL", url)
    storage = Git(PATH, git_clone_url_secret_name="CLONE_URL")
    assert open_flow(storage).flow.mark == "one"
    assert "sentinel-url" not in f"{storage.serialize()} {storage.address}"
    assert restored(storage.serialize()).load_flow("my-flow").hit


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"repo": "o/r", "branch_name": "a", "tag": "b"},
        {"repo": "o/r", "tag": "b", "commit": "0" * 40},
        {"repo": "o/r", "commit": "abc1234"},
    ],
)
def test_options_that_exclude_each_other_are_refused(options):
    with pytest.raises(ConfigError) as caught:
        Git("f.py", **options)
    assert isinstance(caught.value, ValueError)


def test_options_that_are_not_used_are_warned_of(caplog):
    Git("f.py", repo="o/r", git_clone_url_secret_name="U")
    Git("f.py", repo="o/r", use_ssh=True, git_token_secret_name="T")
    assert len(caplog.records) == 2


def test_a_flow_name_restricts_what_is_taken():
    storage = Git("f.py", repo="o/r", flow_name="only")
    with pytest.raises(ConfigError, match="only"):
        storage.add_flow(Flow("other"))


def test_no_child_of_git_sees_a_credential_in_its_arguments(
    repository, serve, monkeypatch, tmp_path
):
    repository.commit(neighbours(1))
    host = serve("git", token="me:sentinel-argv")
    seen = tmp_path / "seen"
    seen.mkdir()
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, check=True, text=True).stdout
    # Records its arguments, and afterwards every file below the folder that git works in.
    wrapper.write_text(
        f'#!/bin/sh\necho "$@" >> {seen}/argv\n{real.strip()} "$@"; code=$?\n'
        f"cat {tmp_path}/homes/first/cache/git/*/config >> {seen}/config 2>/dev/null\n"
        f"cat {tmp_path}/homes/first/cache/git/*/FETCH_HEAD >> {seen}/config 2>/dev/null\n"
        f"exit $code\n"
    )
    wrapper.chmod(0o755)
    import os

    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("T", "sentinel-argv")
    options = {"git_token_secret_name": "T", "git_token_username": "me"}
    open_flow(Git(PATH, repo=f"{host.url}/org/repo.git", **options))
    assert "fetch" in (seen / "argv").read_text()
    assert "remote" in (seen / "config").read_text()
    import base64

    coded = base64.b64encode(b"me:sentinel-argv").decode()
    for path in [*seen.iterdir(), *(p for p in Path(tmp_path / "homes").rglob("*") if p.is_file())]:
        assert b"sentinel-argv" not in path.read_bytes()
        assert coded.encode() not in path.read_bytes()


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
READS_ABOVE = """\
from pathlib import Path
from casflow.flow import Flow
flow = Flow("my-flow")
flow.mark = (Path(__file__).parent.parent / "sql" / "q.sql").read_text()
"""


def test_a_pointer_beside_the_script_is_said(repository, at_home, caplog):
    repository.commit({PATH: script("x"), "flows/data.bin": POINTER})
    open_flow(at_home())
    assert "data.bin holds a Git LFS pointer" in caplog.text


def test_a_script_that_reads_above_its_folder_is_said_and_the_folder_can_be_named(
    repository, at_home, caplog
):
    repository.commit({PATH: READS_ABOVE, "sql/q.sql": "select", "flows/beside.py": ""})
    with pytest.raises(LoadError, match=r"q\.sql"):
        open_flow(at_home())
    assert 'name a folder with both in folder="..."' in caplog.text
    for folder in ("", "/"):
        storage = at_home(folder=folder)
        assert open_flow(storage).flow.mark == "select"
        assert load(storage.serialize()).folder == ""
    assert "folder" not in at_home().serialize()
    with pytest.raises(ConfigError, match="not in the folder"):
        at_home(folder="elsewhere")


@pytest.mark.parametrize(
    ("repo", "user"), [("o/r", "o"), ("o/sub/r", "o"), ("r", "git"), ("https://h.x/a/b/c", "a")]
)
def test_a_tokens_user_is_the_owner_of_any_repository(repo, user, monkeypatch):
    monkeypatch.setenv("T", "token")
    assert Git("f.py", repo, git_token_secret_name="T")._credential() == f"{user}:token"


@pytest.mark.parametrize("repo", ["g/s/p", "/g/s/p", "g/s/p/", "g/s/p.git", " g/s/p\n"])
def test_a_path_of_a_repository_is_taken_as_people_copy_it(repo):
    assert GitLab(repo, path="f.py").address.endswith("/projects/g%2Fs%2Fp")
    assert GitHub(repo, "f.py").repo == "g/s/p"


@pytest.mark.parametrize("repo", ["https://gitlab.com/g/p", "git@h:g/p", "", "/", "u:pw@h/p"])
@pytest.mark.parametrize("kind", [GitLab, GitHub])
def test_an_address_is_no_path_of_a_repository(kind, repo):
    with pytest.raises(ConfigError, match="not the path of a repository") as caught:
        kind(repo, path="f.py")
    assert "pw" not in str(caught.value)
