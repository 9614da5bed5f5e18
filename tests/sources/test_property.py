"""Whatever happens to a repository and its host, a run tells the truth about what it ran."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from casflow.cache import Cache
from casflow.errors import CasflowError, NotFoundError, UnavailableError
from tests.hosts.github import GitHubHost
from tests.hosts.repository import Repository
from tests.sources.conftest import PATH, make, script

BRANCHES = ("trunk", "work")


class Lines(logging.Handler):
    """Keeps log lines."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


class Sources(RuleBasedStateMachine):
    """Commits, moves, deletions and outages, and runs of a floating and of a pinned flow."""

    kind = "github"
    host_class = GitHubHost

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.repository = Repository(self.folder / "repository")
        self.host = self.host_class(self.repository).start()
        self.contents = {}
        self.up = True
        self.count = 0
        self.log = Lines()
        logging.getLogger("casflow").addHandler(self.log)
        logging.getLogger("casflow").setLevel(logging.INFO)
        self.commit("trunk")
        self.commit("work")

    def teardown(self):
        logging.getLogger("casflow").removeHandler(self.log)
        logging.getLogger("casflow").setLevel(logging.NOTSET)
        self.host.stop()
        shutil.rmtree(self.folder)

    @rule(branch=st.sampled_from(BRANCHES))
    def commit(self, branch):
        self.count += 1
        commit = self.repository.commit({PATH: script(self.count)}, branch)
        self.contents[commit] = self.count

    @rule(branch=st.sampled_from(BRANCHES), data=st.data())
    def move(self, branch, data):
        self.repository.branch(branch, data.draw(st.sampled_from(sorted(self.contents))))

    @rule()
    def delete(self):
        self.repository.delete("work")

    @precondition(lambda self: self.up)
    @rule()
    def stop(self):
        self.host.stop()
        self.up = False

    @precondition(lambda self: not self.up)
    @rule()
    def start(self):
        self.host.start()
        self.up = True

    @rule(branch=st.sampled_from(BRANCHES), policy=st.sampled_from(["fail", "cached"]))
    def run_floating(self, branch, policy):
        tip = self.repository.resolve(f"refs/heads/{branch}")
        storage = make(self.kind, self.host.url, branch, PATH, on_unreachable=policy)
        found = self.run(storage)
        if isinstance(found, CasflowError):
            missing = NotFoundError if self.up and tip is None else UnavailableError
            assert isinstance(found, missing)
            return
        warned = any(f"commit {found} is run, which {branch} named" in each for each in self.lines)
        assert warned == (not self.up)
        if self.up:
            assert found == tip
        else:
            assert policy == "cached"

    @rule(data=st.data())
    def run_pinned(self, data):
        commit = data.draw(st.sampled_from(sorted(self.contents)))
        found = self.run(make(self.kind, self.host.url, commit, PATH))
        if isinstance(found, CasflowError):
            assert isinstance(found, UnavailableError)
            assert not self.up
        else:
            assert found == commit

    def run(self, storage):
        """Run a flow; return the commit that the log names, after a look at what was run."""
        storage._cache = Cache(self.folder / "cache", 10**8)
        storage.flows["my-flow"] = PATH
        self.log.lines.clear()
        try:
            opened = storage.open_flow("my-flow")
        except CasflowError as error:
            return error
        self.lines = list(self.log.lines)
        named = [each.rsplit(" ", 1)[1] for each in self.lines if "is read from" in each]
        assert named == [opened.reference.environment["commit"]]
        assert opened.flow.mark == self.contents[named[0]]
        return named[0]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    from urllib3.util import Retry

    monkeypatch.setattr(Retry, "get_backoff_time", lambda _: 0)


def test_a_run_tells_the_truth():
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Sources,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=checks,
        ),
    )
