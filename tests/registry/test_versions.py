"""What a registry of any kind promises about versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from casflow.digests import digest_of
from casflow.errors import ConfigError, ConflictError, NotFoundError
from casflow.registry import Registry, Version

if TYPE_CHECKING:
    from tests.registry.processes import Clock

from tests.registry.processes import REFERENCE

Add = Callable[..., Version]


def test_first_version_makes_project_and_flow(registry: Registry, add: Add) -> None:
    version = add("etl", project="sales")
    assert (version.project, version.flow, version.number) == ("sales", "etl", 1)
    assert registry.projects() == ["sales"]


def test_no_project_is_the_default_project(registry: Registry, add: Add) -> None:
    add("etl", project=None)
    assert registry.find_latest("default", "etl") == registry.find_latest(None, "etl") is not None


def test_a_version_comes_back_as_it_was_added(registry: Registry, add: Add, clock: Clock) -> None:
    version = add(
        storage={"type": "S3", "bucket": "b", "deep": [1, None, {"ü": "\0\ud83d\ude00"}]},
        reference=REFERENCE,
        labels=["b", "a", "b"],
        idempotency_key="key",
    )
    assert registry.get_version(None, "etl") == version
    assert version.storage["deep"] == [1, None, {"ü": "\0😀"}]
    assert version.labels == ("a", "b")
    assert version.created == clock.moment
    assert version.created.utcoffset() is not None


def test_numbers_count_from_one_in_each_flow(registry: Registry, add: Add) -> None:
    assert [add("a").number, add("b").number, add("a").number] == [1, 1, 2]
    assert [each.number for each in registry.versions(None, "a")] == [2, 1]
    assert [each.number for each in registry.versions(None, "a", limit=1)] == [2]


def test_one_name_in_two_projects_is_two_flows(registry: Registry, add: Add) -> None:
    add("etl", b"one", project="p")
    add("etl", b"two", project="q")
    assert registry.get_version("p", "etl").digest == digest_of(b"one")
    assert registry.get_version("q", "etl").number == 1


@pytest.mark.parametrize("name", ["😀" * 1000, "a" * 1000, "ETL", "etl ", "%_'\"", "../x"])
def test_names_are_kept_exactly(registry: Registry, add: Add, name: str) -> None:
    add("etl")
    add(name)
    assert registry.get_version(None, name).flow == name
    assert registry.get_version(None, name).number == 1


def test_find_latest_finds_nothing_in_an_empty_registry(registry: Registry) -> None:
    assert registry.find_latest(None, "etl") is None


def test_a_version_is_found_by_number_and_by_digest(registry: Registry, add: Add) -> None:
    first, second, third = add(content=b"1"), add(content=b"2"), add(content=b"1")
    assert registry.get_version(None, "etl", 2) == second
    assert registry.get_version(None, "etl", digest=first.digest) == third
    assert registry.get_version(None, "etl", 1, first.digest) == first


def test_nothing_is_added_when_another_came_first(registry: Registry, add: Add) -> None:
    add(after=0)
    with pytest.raises(ConflictError, match="first"):
        add(content=b"late", after=0)
    assert add(after=1).number == 2


def test_a_refused_first_version_leaves_no_flow(registry: Registry, add: Add) -> None:
    with pytest.raises(ConflictError):
        add("other", after=7)
    assert registry.projects() == []


def test_update_reference_keeps_number_and_digest(registry: Registry, add: Add) -> None:
    version = add()
    changed = registry.update_reference(
        version, reference={**REFERENCE, "a": 1}, storage={"b": 2}, location="there"
    )
    assert (changed.number, changed.digest) == (version.number, version.digest)
    assert (changed.reference, changed.storage, changed.location) == (
        {**REFERENCE, "a": 1},
        {"b": 2},
        "there",
    )
    assert registry.versions(None, "etl") == [changed]


def test_update_reference_of_a_strange_version(registry: Registry, add: Add) -> None:
    from dataclasses import replace

    strange = replace(add(), id=77)
    with pytest.raises(NotFoundError, match="no such version"):
        registry.update_reference(strange, reference=None, storage={}, location="")


def test_flows_lists_the_latest_of_each(registry: Registry, add: Add) -> None:
    add("b", project="p")
    latest = add("b", project="p")
    other = add("a", project="q")
    assert registry.flows() == [latest, other]
    assert registry.flows("q") == [other]
    assert registry.flows("none") == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((None, "sale", None, None), r"no such flow: 'sale' in project 'default'; did you mean 's"),
        ((None, "zzz", None, None), r"there are 'etl', 'sales'$"),
        (("nowhere", "etl", None, None), r"there is one in project 'default'"),
        (("nowhere", "zzz", None, None), r"register it first"),
        ((None, "etl", 9, None), r"no version 9 of the flow: 'etl' .* its latest is 1"),
        ((None, "etl", None, digest_of(b"x")), r"no version with blake3:\w{64} of the flow: 'etl'"),
        ((None, "etl", 1, digest_of(b"x")), r"no version 1 with blake3:"),
    ],
)
def test_absence_says_what_there_is(
    registry: Registry, add: Add, asked: tuple[Any, ...], said: str
) -> None:
    add("etl")
    add("sales")
    with pytest.raises(NotFoundError, match=said):
        registry.get_version(*asked)


def test_versions_of_an_absent_flow(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match="register it first"):
        registry.versions(None, "etl")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"project": ""}, "not a project name"),
        ({"project": "a,b"}, "no commas"),
        ({"flow": ""}, "name must be provided"),
        ({"flow": "a\nb"}, "control character"),
        ({"flow": "x" * 1001}, "1001 characters"),
        ({"digest": "sha256:00"}, "not a digest"),
        ({"labels": [" a"]}, "not a label"),
        ({"labels": "gpu"}, "list of texts"),
    ],
)
def test_bad_values_are_refused_and_leave_nothing(
    registry: Registry, add: Add, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        add(**options)
    assert registry.projects() == []
