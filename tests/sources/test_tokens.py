"""A token goes to the host that it was named for, and nowhere else."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from casflow.errors import AccessError, CasflowError, IntegrityError
from casflow.flow import Flow
from casflow.storage import Git, GitHub, GitLab, Module
from casflow.storage.bitbucket import Bitbucket


@pytest.fixture
def other():
    """A host that notes what it is asked, and sends everybody on when told where to."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(dict(self.headers))
            if self.server.onward:
                self.send_response(302)
                self.send_header("Location", self.server.onward + self.path)
            else:
                self.send_response(404)
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    servers = []

    def start(onward=None):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.onward = onward
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    start.seen = seen
    yield start
    for each in servers:
        each.shutdown()
        each.server_close()


KINDS = {
    "GITHUB_ACCESS_TOKEN": lambda url, **o: GitHub("o/r", "f.py", base_url=url, **o),
    "GITLAB_ACCESS_TOKEN": lambda url, **o: GitLab("o/r", path="f.py", host=url, **o),
    "BITBUCKET_ACCESS_TOKEN": lambda url, **o: Bitbucket("P", "r", path="f.py", host=url, **o),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_default_token_goes_to_no_other_host(name, other, monkeypatch):
    monkeypatch.setenv(name, "sentinel-token")
    with pytest.raises(CasflowError):
        KINDS[name](other()).resolve("f")
    assert other.seen
    assert "sentinel-token" not in str(other.seen)


@pytest.mark.parametrize("name", KINDS)
def test_a_token_that_was_named_goes_to_the_host_beside_it(name, other, monkeypatch):
    monkeypatch.setenv("MINE", "sentinel-token")
    with pytest.raises(CasflowError):
        KINDS[name](other(), access_token_secret="MINE").resolve("f")
    assert "sentinel-token" in str(other.seen)


def test_git_takes_no_credential_to_where_it_is_redirected(other, monkeypatch):
    monkeypatch.setenv("MINE", "sentinel-token")
    there = other()
    storage = Git("f.py", repo=f"{other(there)}/o/r.git", git_token_secret_name="MINE")
    with pytest.raises(AccessError, match="has moved"):
        storage.resolve("f")
    assert len(other.seen) == 1


def test_git_without_a_credential_follows_a_redirect(other):
    there = other()
    with pytest.raises(CasflowError):
        Git("f.py", repo=f"{other(there)}/o/r.git").resolve("f")
    assert len(other.seen) > 1


def test_a_pinned_module_is_verified_before_any_of_its_packages_runs(tmp_path, monkeypatch):
    package = tmp_path / "pinned_parent"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "flows.py").write_text("from casflow import Flow\nflow = Flow('pinned')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    storage = Module("pinned_parent.flows", pin=True)
    storage.add_flow(Flow("pinned"))
    storage.build()
    (package / "__init__.py").write_text("raise SystemExit('was run')\n")
    (package / "flows.py").write_text("from casflow import Flow\nflow = Flow('pinned')\n1\n")
    with pytest.raises(IntegrityError):
        storage.get_flow("pinned")
    assert "pinned_parent" not in sys.modules
