"""The examples of the specification for these storages, as they are written there."""

from __future__ import annotations

import json

import pytest

from casflow.storage import load
from casflow.storage.plugins import CLASSES, GROUP
from tests.seed_page import flow_of

KINDS = ("Bitbucket", "CodeCommit", "GitHub", "GitLab", "Webhook")
SECRETS = (
    "GITHUB_ACCESS_TOKEN",
    "GITLAB_ACCESS_TOKEN",
    "BITBUCKET_ACCESS_TOKEN",
    "DBOX_OAUTH2_TOKEN",
)


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_runs_and_goes_round(kind, monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "sentinel-example")
    flow = flow_of(kind)
    location = flow.storage.add_flow(flow)
    form = flow.storage.serialize()
    assert "sentinel-example" not in json.dumps(form)
    again = load(json.loads(json.dumps(form)))
    assert again.serialize() == form
    assert type(again) is type(flow.storage)
    assert again.flows == {flow.name: location}
    assert repr(again) == f"<Storage: {kind}>"


@pytest.mark.parametrize("kind", ["GitHub", "GitLab", "Bitbucket", "CodeCommit"])
def test_a_name_can_be_added_once(kind):
    flow = flow_of(kind)
    flow.storage.add_flow(flow)
    with pytest.raises(ValueError, match=f'Name conflict: Flow with the name "{flow.name}"'):
        flow.storage.add_flow(flow)
    with pytest.raises(ValueError, match="not contained"):
        flow.storage.get_flow("other")
    assert flow not in flow.storage
    assert flow.name in flow.storage


def test_every_storage_is_an_entry_point_too():
    from importlib.metadata import entry_points

    assert {each.name: each.value for each in entry_points(group=GROUP)} == CLASSES
