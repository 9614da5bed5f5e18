"""The loopback hosts answer as documented, from what git says of the repository."""

from __future__ import annotations

import base64
import hashlib
import subprocess

import pytest
import requests

from tests.hosts.repository import Link, Submodule

FILES = {
    "flows/my_flow.py": "print('hello')\n",
    "flows/link.py": Link("my_flow.py"),
    "vendor": Submodule(),
    "big.bin": b"\0" * 2_000_000,
}


def test_repository_gives_gits_own_blob_ids(repository):
    commit = repository.commit(FILES)
    entry = repository.entry(commit, "flows/my_flow.py")
    assert entry.id == hashlib.sha1(b"blob 15\0print('hello')\n").hexdigest()
    assert repository.read(entry.id) == b"print('hello')\n"
    assert repository.entry(commit, "flows/link.py").mode == "120000"
    assert repository.entry(commit, "vendor").kind == "commit"
    assert repository.entry(commit, "nothing") is None


def test_repository_moves_and_deletes_branches(repository):
    first = repository.commit({"a": "1"})
    second = repository.commit({"a": "2", "b": "x"})
    repository.tag("v1", first, annotated=True)
    repository.branch("old", first)
    assert repository.refs("heads") == {"old": first, "trunk": second}
    assert repository.refs("tags") == {"v1": first}
    repository.branch("trunk", first)
    assert repository.resolve("HEAD") == first
    repository.delete("old")
    assert repository.resolve("old") is None


def test_github_resolves_a_ref_in_one_small_request_that_can_be_conditional(repository, serve):
    commit = repository.commit(FILES)
    host = serve("github")
    address = f"{host.url}/repos/org/repo/commits/HEAD"
    accept = {"Accept": "application/vnd.github.sha"}
    first = requests.get(address, headers=accept, timeout=5)
    assert first.text == commit
    again = requests.get(
        address, headers=accept | {"If-None-Match": first.headers["ETag"]}, timeout=5
    )
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["X-RateLimit-Remaining"] == first.headers["X-RateLimit-Remaining"]
    missing = requests.get(f"{host.url}/repos/org/repo/commits/nope", timeout=5)
    assert missing.status_code == 422
    assert host.statuses == [200, 304, 422]


def test_github_gives_contents_by_kind(repository, serve):
    repository.commit(FILES)
    host = serve("github", token="t")

    def get(path, **headers):
        headers = {"Authorization": "Bearer t", **headers}
        return requests.get(
            f"{host.url}/repos/org/repo/contents/{path}", headers=headers, timeout=5
        )

    file = get("flows/my_flow.py").json()
    assert base64.b64decode(file["content"]) == b"print('hello')\n"
    assert get("flows/my_flow.py", Accept="application/vnd.github.raw").content[:5] == b"print"
    assert get("flows/link.py").json()["type"] == "symlink"
    assert get("vendor").json()["type"] == "submodule"
    assert {each["path"] for each in get("flows").json()} == {"my_flow.py", "link.py"}
    assert get("big.bin").json()["encoding"] == "none"
    assert get("absent").status_code == 404
    assert requests.get(f"{host.url}/repos/org/repo", timeout=5).status_code == 404
    assert get("x", Authorization="Bearer bad").status_code == 401


def test_github_pages_through_branches_by_link(repository, serve):
    commit = repository.commit({"a": "1"})
    for number in range(5):
        repository.branch(f"b{number}", commit)
    address = f"{serve('github').url}/repos/org/repo/branches?per_page=4"
    first = requests.get(address, timeout=5)
    second = requests.get(first.links["next"]["url"], timeout=5)
    assert [each["name"] for each in second.json()] == ["b4", "trunk"]
    assert "next" not in second.links


def test_gitlab_serves_commits_and_files(repository, serve):
    commit = repository.commit(FILES)
    base = f"{serve('gitlab').url}/api/v4/projects/org%2Frepo/repository"
    assert requests.get(f"{base}/commits/trunk", timeout=5).json()["id"] == commit
    address = f"{base}/files/flows%2Fmy_flow.py"
    file = requests.get(address, params={"ref": commit}, timeout=5).json()
    assert file["blob_id"] == repository.entry(commit, "flows/my_flow.py").id
    assert requests.get(f"{address}/raw", params={"ref": commit}, timeout=5).text[:5] == "print"
    assert requests.get(f"{base}/files/flows?ref=trunk", timeout=5).status_code == 404
    assert "X-Next-Page" in requests.get(f"{base}/branches", timeout=5).headers


def test_bitbucket_server_serves_commits_and_raw_files(repository, serve):
    commit = repository.commit(FILES)
    base = f"{serve('bitbucket-server').url}/rest/api/1.0/projects/PROJ/repos/repo"
    assert requests.get(f"{base}/default-branch", timeout=5).json()["displayId"] == "trunk"
    commits = requests.get(f"{base}/commits?limit=1&until=trunk", timeout=5)
    assert commits.json()["values"][0]["id"] == commit
    raw = requests.get(f"{base}/raw/flows/my_flow.py?at={commit}", timeout=5)
    assert raw.content == b"print('hello')\n"


def test_bitbucket_cloud_pages_through_refs(repository, serve):
    commit = repository.commit(FILES)
    for number in range(12):
        repository.branch(f"b/{number:02}", commit)
    base = f"{serve('bitbucket-cloud').url}/2.0/repositories/space/repo"
    first = requests.get(f"{base}/refs/branches", timeout=5).json()
    second = requests.get(first["next"], timeout=5).json()
    assert [each["name"] for each in second["values"]] == ["b/10", "b/11", "trunk"]
    assert requests.get(f"{base}/src/{commit}/flows/my_flow.py", timeout=5).text[:5] == "print"


def test_codecommit_answers_botocore(repository, serve):
    commit = repository.commit(FILES)
    client = codecommit(serve("codecommit"))
    folder = client.get_folder(repositoryName="repo", folderPath="flows")
    assert folder["commitId"] == commit
    assert [each["relativePath"] for each in folder["symbolicLinks"]] == ["link.py"]
    file = client.get_file(
        repositoryName="repo", commitSpecifier="trunk", filePath="flows/my_flow.py"
    )
    assert file["fileContent"] == b"print('hello')\n"
    with pytest.raises(client.exceptions.FileDoesNotExistException):
        client.get_file(repositoryName="repo", filePath="absent")
    client.close()


def codecommit(host):
    import botocore.session

    return botocore.session.get_session().create_client(
        "codecommit",
        endpoint_url=host.url,
        region_name="eu-west-1",
        aws_access_key_id="KEY",
        aws_secret_access_key="x",
    )


def test_git_speaks_its_own_protocol_and_asks_for_the_credential(repository, serve, tmp_path):
    commit = repository.commit(FILES)
    host = serve("git", token="u:secret")
    address = host.url.replace("//", "//u:secret@") + "/org/repo.git"
    done = subprocess.run(["git", "ls-remote", address, "trunk"], capture_output=True, check=True)
    assert done.stdout.split() == [commit.encode(), b"refs/heads/trunk"]
    refused = subprocess.run(
        ["git", "-c", "credential.helper=", "ls-remote", f"{host.url}/org/repo.git"],
        capture_output=True,
        check=False,
        env={"GIT_TERMINAL_PROMPT": "0", "PATH": "/usr/bin:/bin"},
    )
    assert refused.returncode != 0
    assert 401 in host.statuses


def test_a_host_that_stopped_comes_back_on_the_same_port(repository, serve):
    repository.commit(FILES)
    host = serve("github")
    address = f"{host.url}/repos/org/repo"
    host.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(address, timeout=5)
    host.start()
    assert requests.get(address, timeout=5).status_code == 200
