"""Whatever happens to a repository and its host, a run tells the truth about what it ran.

One machine of states runs unchanged against every kind of host. What happens between two requests
of one run (a branch that moves or goes, an outage, a limit) is armed before it.
"""

from __future__ import annotations

import json
import logging
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from casflow.cache import Cache
from casflow.errors import CasflowError, NotFoundError, UnavailableError
from casflow.flow import Flow
from tests.examples import examples
from tests.hosts.repository import Repository
from tests.sources.conftest import GITS, HOSTS, PATH, make, restored, script

REFS = st.sampled_from(["trunk", "work", None])
POLICIES = st.sampled_from(["fail", "cached"])
EVENTS = st.sampled_from([None, "push", "push", "delete", "stop", "fail", "slow_down"])


class Lines(logging.Handler):
    """Keeps log lines."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


class Sources(RuleBasedStateMachine):
    """Commits, moves, deletions and troubles, and runs of floating and of pinned flows."""

    kind = ""

    def __init__(self):
        super().__init__()
        self.begun = ExitStack()  # what ends with the machine, however far it came

    @initialize()
    def begin(self):
        self.folder = Path(self.begun.enter_context(tempfile.TemporaryDirectory()))
        self.repository = Repository(self.folder / "repository")
        self.host = HOSTS[self.kind](self.repository).start()
        self.begun.callback(self.host.close)
        self.contents = {}  # commit -> mark of its flow
        self.known = {}  # ref -> the last commit that a run of this computer got for it
        self.computer = self.folder / "first"
        self.registered = []
        self.troubled = False
        self.log = Lines()
        logger = logging.getLogger("casflow")
        self.begun.callback(logger.setLevel, logger.level)
        self.begun.callback(logger.removeHandler, self.log)
        logger.addHandler(self.log)
        logger.setLevel(logging.INFO)
        self.commit("trunk")
        self.commit("work")

    def teardown(self):
        self.begun.close()

    # ---- what happens ----------------------------------------------------------------------

    def commit(self, branch):
        mark = len(self.contents)
        self.contents[self.repository.commit({PATH: script(mark)}, branch)] = mark

    def a_commit(self, data):
        return data.draw(st.sampled_from(sorted(self.contents, key=self.contents.get)))

    @rule(ref=REFS, data=st.data())
    def change(self, ref, data):
        branch = ref or "trunk"
        change = data.draw(st.sampled_from(["commit", "move", "delete"]))
        if change == "commit":
            self.commit(branch)
        elif change == "move":
            self.repository.branch(branch, self.a_commit(data))
        else:
            self.repository.delete(branch)

    def get_into_trouble(self, trouble):
        getattr(self.host, trouble)()
        self.troubled = True

    @rule()
    def change_computer(self):
        self.computer = Path(tempfile.mkdtemp(dir=self.folder))
        self.known = {}

    def arm(self, ref, data):
        """Let something happen to a ref or its host before the next run, or amid its requests."""
        event = data.draw(EVENTS, "event")
        if event is None:
            return
        happen = self.event(event, ref or "trunk")
        answers = data.draw(st.integers(0, 4 if self.kind == "git" else 1), "answers before")
        if answers:
            self.host.then.extend([lambda: None] * (answers - 1) + [happen])
        else:
            happen()

    def event(self, event, branch):
        if event == "push":
            self.commit("spare")
            tip = self.repository.resolve("spare")
            return lambda: self.repository.branch(branch, tip)
        if event == "delete":
            return lambda: self.repository.delete(branch)
        return lambda: self.get_into_trouble(event)

    # ---- runs ------------------------------------------------------------------------------

    @rule(ref=REFS, policy=POLICIES, data=st.data())
    def run_floating(self, ref, policy, data):
        storage = make(self.kind, self.host.url, ref, PATH, on_unreachable=policy)
        storage.flows["my-flow"] = PATH
        self.arm(ref, data)
        found, tips, troubled = self.run(storage, ref)
        if isinstance(found, CasflowError):
            self.check_error(found, troubled, absent=None in tips)
            return
        warned = any(f"commit {found} is run, which" in each for each in self.log.lines)
        assert warned or found in tips
        if warned:
            assert policy == "cached"
            assert troubled
            assert found == self.known[ref]
        self.known[ref] = found

    @rule(ref=REFS, data=st.data())
    def register(self, ref, data):
        if data.draw(st.booleans(), "by commit"):
            ref = self.a_commit(data)
        storage = make(self.kind, self.host.url, ref, PATH, pin=True)
        storage.add_flow(Flow("my-flow"))
        self.arm(None if ref in self.contents else ref, data)
        found, tips, troubled = self.run(storage, ref, registering=True)
        if isinstance(found, CasflowError):
            self.check_error(found, troubled, absent=None in tips)
        else:
            assert found in tips
            self.registered.append((json.dumps(storage.serialize()), found))
            self.known[ref] = found

    @precondition(lambda self: self.registered)
    @rule(data=st.data())
    def run_pinned(self, data):
        form, commit = data.draw(st.sampled_from(self.registered))
        self.arm(None, data)
        found, _, troubled = self.run(restored(json.loads(form)), commit)
        if isinstance(found, CasflowError):
            self.check_error(found, troubled, absent=False)
        else:
            assert found == commit

    def run(self, storage, ref, *, registering=False):
        """Run a flow, or register it and then run it.

        Returns:
            The commit that the log names, after a look at what was run, or the error; what the ref
            named meanwhile; whether there was trouble.
        """
        storage._cache = self.cache()
        self.log.lines.clear()
        tips, troubled = {self.tip(ref)}, self.troubled
        found = self.outcome(storage, registering)
        tips, troubled = tips | {self.tip(ref)}, troubled or self.troubled
        self.host.then.clear()
        self.host.recover()
        self.troubled = False
        return found, tips, troubled

    def outcome(self, storage, registering):
        try:
            if registering:
                storage.build()
            opened = storage.load_flow("my-flow")
        except CasflowError as error:
            return error
        named = [each.rsplit(" ", 1)[1] for each in self.log.lines if "is read from" in each]
        assert named == [opened.reference.environment["commit"]]
        assert opened.flow.mark == self.contents[named[0]]
        return named[0]

    def cache(self):
        return Cache(self.computer, 10**8)

    def tip(self, ref):
        return self.repository.resolve(ref or "HEAD")

    def check_error(self, error, troubled, *, absent):
        # A path that leads nowhere is all that there is to an outage of a local repository.
        outage = NotFoundError if self.kind == "git-local" else UnavailableError
        allowed = (outage,) * troubled + (NotFoundError,) * absent
        assert isinstance(error, allowed), f"{error!r} with {troubled=} and {absent=}"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    import botocore.retryhandler
    from urllib3.util import Retry

    monkeypatch.setattr(Retry, "get_backoff_time", lambda _: 0)
    monkeypatch.setattr(botocore.retryhandler, "delay_exponential", lambda *_, **__: 0)


@pytest.mark.parametrize("kind", sorted(HOSTS))
def test_a_run_tells_the_truth(kind):
    run_state_machine_as_test(
        type("SourcesOfOneKind", (Sources,), {"kind": kind}),
        settings=settings(
            max_examples=examples(10 if kind in GITS else 25),  # a call of git takes its time
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        ),
    )


def test_a_host_that_cannot_be_had_is_skipped(monkeypatch):
    """A skip amid the set-up of the machine stays a skip."""

    def missing(_):
        pytest.skip("no sshd")

    monkeypatch.setitem(HOSTS, "git-ssh", missing)
    with pytest.raises(pytest.skip.Exception, match="no sshd"):
        test_a_run_tells_the_truth("git-ssh")
