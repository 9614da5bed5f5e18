"""What runs when the host is down, or limits its callers."""

from __future__ import annotations

import logging
import re
import time
from email.utils import formatdate

import pytest

from casflow.errors import ConfigError, UnavailableError
from casflow.http.retry import MAX_RETRY_AFTER, is_retryable
from tests.hosts.server import Answer
from tests.sources.conftest import REMOTE

# A path of this machine is there or not; it has no host that could be down.
of_each_remote = pytest.mark.parametrize("world", REMOTE, indirect=True)


@pytest.fixture
def limited(open_world):
    return open_world("github")


def test_a_pinned_flow_runs_while_the_host_is_down(world):
    form = world.register(world.commit("one"))
    world.run(form)
    world.host.stop()
    assert world.run(form).flow.mark == "one"


@of_each_remote
def test_a_floating_flow_fails_by_default(world):
    world.commit("one")
    form = world.register()
    world.run(form)
    world.host.stop()
    with pytest.raises(UnavailableError, match="try again") as caught:
        world.run(form)
    assert caught.value.exit_code == 7


@of_each_remote
def test_a_floating_flow_may_run_its_last_commit_and_says_how_old_it_is(world, caplog, monkeypatch):
    commit = world.commit("one")
    form = world.register(on_unreachable="cached")
    world.run(form)
    world.host.stop()
    later = time.time() + 7200
    monkeypatch.setattr(time, "time", lambda: later)
    with caplog.at_level(logging.WARNING, "casflow"):
        assert world.run(form).flow.mark == "one"
    assert re.search(rf"commit {commit} is run, which .* named 2 h ago", caplog.text)


@of_each_remote
def test_nothing_known_and_the_host_down_is_an_error_under_every_policy(world):
    world.commit("one")
    form = world.register(on_unreachable="cached")
    world.host.stop()
    world.use("second")
    with pytest.raises(UnavailableError):
        world.run(form)


def test_a_host_that_fails_between_lookup_and_download_gives_the_older_commit(limited, caplog):
    first = limited.commit("one")
    form = limited.register(on_unreachable="cached")
    limited.run(form)
    second = limited.commit("two")
    limited.host.next.append(Answer(200, second.encode()))
    limited.host.next.extend([Answer(503)] * 4)
    opened = limited.run(form)
    assert (opened.flow.mark, opened.reference.environment["commit"]) == ("one", first)
    assert first in caplog.text
    assert limited.run(form).flow.mark == "two"


def test_an_unknown_policy_is_refused(limited):
    with pytest.raises(ConfigError, match="on_unreachable"):
        limited.storage(on_unreachable="hope")


def test_a_short_wait_is_waited(limited):
    limited.commit("one")
    form = limited.register()
    limited.host.next.append(Answer.json({"message": "abuse"}, 403, Retry_After="1"))
    started = time.monotonic()
    assert limited.run(form).flow.mark == "one"
    assert 1 <= time.monotonic() - started < 3


def test_a_short_wait_until_the_limit_resets_is_waited(limited):
    limited.commit("one")
    form = limited.register()
    reset = str(int(time.time()) + 2)
    limits = {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": reset}
    limited.host.next.append(Answer.json({"message": "limit"}, 403, **limits))
    assert limited.run(form).flow.mark == "one"


@pytest.mark.parametrize("status", [403, 429, 503])
@pytest.mark.parametrize(
    ("headers", "retryable"),
    [
        ({"Retry-After": str(int(MAX_RETRY_AFTER))}, True),
        ({"Retry-After": str(int(MAX_RETRY_AFTER) + 1)}, False),
        ({"Retry-After": "-1"}, True),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, True),
    ],
)
def test_a_wait_is_borne_up_to_a_bound(status, headers, retryable):
    assert is_retryable(status, headers) == retryable


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("form_of_wait", ["seconds", "date", "reset"])
def test_a_long_wait_is_an_error_that_says_until_when(limited, status, form_of_wait):
    limited.commit("one")
    form = limited.register()
    until = int(time.time()) + 3600
    headers = {
        "seconds": {"Retry_After": "3600"},
        "date": {"Retry_After": formatdate(until, usegmt=True)},
        "reset": {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": str(until)},
    }[form_of_wait]
    limited.host.forget()
    limited.host.next.append(Answer.json({"message": "limit"}, status, **headers))
    expected = time.strftime("%Y-%m-%dT%H", time.gmtime(until))
    with pytest.raises(UnavailableError, match=f"limits requests.*after {expected}"):
        limited.run(form)
    assert len(limited.host.log) == 1


def test_a_rate_limited_flow_may_run_its_last_commit(limited, caplog):
    limited.commit("one")
    form = limited.register(on_unreachable="cached")
    limited.run(form)
    limited.host.next.append(Answer.json({}, 429, Retry_After="3600"))
    assert limited.run(form).flow.mark == "one"
    assert "ago" in caplog.text


def test_a_failing_host_is_tried_again(limited):
    limited.commit("one")
    limited.host.next.extend([Answer(502), Answer(503)])
    assert limited.run(limited.register()).flow.mark == "one"


def test_a_plain_refusal_is_not_tried_again(limited):
    limited.commit("one")
    form = limited.register()
    limited.host.forget()
    limited.host.next.append(Answer.json({"message": "forbidden"}, 403))
    with pytest.raises(Exception, match="refused"):
        limited.run(form)
    assert len(limited.host.log) == 1
