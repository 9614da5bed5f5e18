"""What may enter a registry: labels, project names, parameters."""

from __future__ import annotations

from typing import Any

import pytest

from casflow.errors import ConfigError
from casflow.registry import RunState, check_labels, check_parameters, check_project


def test_labels_are_sorted_and_single() -> None:
    assert check_labels(["b", "ä b", "a", "b"]) == ("a", "b", "ä b")
    assert check_labels(frozenset()) == ()


@pytest.mark.parametrize(
    "label", ["", " ", "a ", "\ta", "a,b", "a\nb", "a\0", "\ud800", "x" * 201, None, 3, b"a"]
)
def test_bad_labels_are_refused(label: Any) -> None:
    with pytest.raises(ConfigError, match="label"):
        check_labels(["good", label])


def test_one_text_is_not_a_list_of_labels() -> None:
    with pytest.raises(ConfigError, match="not one text"):
        check_labels("gpu")


def test_the_longest_label_passes() -> None:
    assert check_labels(["x" * 200]) == ("x" * 200,)


def test_no_project_is_the_default() -> None:
    assert check_project(None) == "default"
    assert check_project("p") == "p"


def test_parameters_are_json() -> None:
    given = {"a": [1, 2.5, None, True, "x"], "b": {"c": ()}}
    assert check_parameters(given) == given
    assert check_parameters(None) == {}


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"x", float("nan"), float("inf"), {1: 2}, [{"a": {None: 1}}]],
)
def test_what_is_not_json_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ConfigError, match="the parameter 'bad' is not JSON"):
        check_parameters({"good": 1, "bad": value})


def test_a_number_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="'bad'"):
        check_parameters({"bad": 10**5000})


def test_a_circle_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ConfigError, match="'bad'"):
        check_parameters({"bad": circle})


def test_a_parameter_s_name_is_text() -> None:
    with pytest.raises(ConfigError, match="name is not text: 1"):
        check_parameters({1: 2})  # type: ignore[dict-item]


def test_three_states_are_final() -> None:
    assert [each.value for each in RunState if each.is_final] == ["Success", "Failed", "Cancelled"]
