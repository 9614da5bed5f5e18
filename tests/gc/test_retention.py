"""Retention, as properties over any history of a flow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casflow.blobs import layout
from casflow.errors import ConfigError, IntegrityError
from casflow.gc.retention import Candidate, Policy, expired, parse_duration

START = datetime(2026, 1, 1, tzinfo=UTC)

moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
histories = st.lists(
    st.builds(
        lambda moment, kept: Candidate(
            layout.reference("flow", moment), moment.timestamp(), kept=kept
        ),
        moments,
        st.booleans(),
    ),
    unique_by=lambda candidate: candidate.key,
    max_size=40,
)
counts = st.integers(0, 12)
policies = st.builds(
    Policy, counts, st.none() | st.timedeltas(timedelta(0)), counts, counts, counts
)


def at(*days):
    moments = [START + timedelta(days=day) for day in days]
    return [Candidate(layout.reference("flow", each), each.timestamp()) for each in moments]


def days(keys):
    return sorted((layout.moment(key) - START).days for key in keys)


@given(histories, policies)
def test_the_newest_and_what_must_be_kept_never_expire(history, policy):
    gone = set(expired(policy, history))
    assert gone <= {each.key for each in history if not each.kept}
    if history:
        assert max(history, key=lambda each: (each.made, each.key)).key not in gone


@given(histories)
def test_without_a_rule_nothing_expires(history):
    assert expired(Policy(), history) == []


@given(histories, counts.filter(bool))
def test_keep_last_keeps_exactly_that_many(history, count):
    plain = [Candidate(each.key, each.made) for each in history]
    assert len(plain) - len(expired(Policy(last=count), plain)) == min(count, len(plain))


@given(histories, policies, policies)
def test_a_further_rule_only_keeps_more(history, one, other):
    both = Policy(
        max(one.last, other.last),
        one.within if other.within is None else max(one.within or timedelta(0), other.within),
        max(one.daily, other.daily),
        max(one.weekly, other.weekly),
        max(one.monthly, other.monthly),
    )
    if one:
        assert set(expired(both, history)) <= set(expired(one, history))


@given(histories, policies)
def test_what_is_kept_once_is_kept_when_asked_again(history, policy):
    gone = set(expired(policy, history))
    rest = [each for each in history if each.key not in gone]
    assert expired(policy, rest) == []


@given(histories, policies)
def test_the_order_does_not_matter(history, policy):
    assert expired(policy, history) == expired(policy, list(reversed(history)))


def test_within_counts_from_the_newest():
    assert days(expired(Policy(within=timedelta(days=5)), at(0, 4, 5, 10))) == [0, 4]


def test_references_of_one_second_count_each():
    """Some stores tell whole seconds only."""
    history = [Candidate(f"flow/{number}", 0.0) for number in range(5)]
    assert expired(Policy(last=2), history) == ["flow/2", "flow/1", "flow/0"]


def test_each_day_keeps_its_newest():
    history = at(0, 0.25, 0.5, 3, 3.5)
    kept = {each.key for each in history} - set(expired(Policy(daily=2), history))
    assert kept == {history[2].key, history[4].key}


def test_weeks_and_months_that_have_none_do_not_count():
    assert days(expired(Policy(weekly=2), at(0, 1, 100, 101))) == [0, 100]
    assert days(expired(Policy(monthly=2), at(0, 1, 400, 401))) == [0, 400]


@pytest.mark.parametrize(
    ("text", "hours"),
    [("30d", 720), ("12h", 12), ("2w", 336), ("1y6m", 13080), ("1d12h", 36), ("7200s", 2)],
)
def test_times_are_written_as_in_restic(text, hours):
    assert parse_duration(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "d", "5", "-1d", "1x", "99999999999y"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ConfigError):
        parse_duration(text)


def test_a_policy_is_read_from_a_line():
    policy = Policy.parse("last=5 within=30d daily=7 weekly=4 monthly=12 label=a label=b")
    assert policy == Policy(5, timedelta(days=30), 7, 4, 12, frozenset({"a", "b"}))
    assert not Policy.parse("")


@pytest.mark.parametrize("text", ["last", "last=-1", "first=2", "within=x", "last=2,daily=3"])
def test_what_is_no_policy_is_refused(text):
    with pytest.raises(ConfigError):
        Policy.parse(text)


def test_an_impossible_time_in_a_key_is_damage():
    with pytest.raises(IntegrityError, match="no time"):
        layout.moment("flow/2026-13-01t00-00-00-000000-00-00")


@given(moments)
def test_a_key_tells_its_moment(moment):
    assert layout.moment(layout.reference("flow", moment)) == moment
