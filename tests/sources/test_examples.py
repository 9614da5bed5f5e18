"""The examples of the specification for these storages, as they are written there."""

from __future__ import annotations

import json

import pytest

from casflow.storage import load
from casflow.storage.known import CLASSES, GROUP

EXAMPLES = {
    "GitHub": """
from casflow import Flow
from casflow.storage import GitHub

flow = Flow(
    "github-flow",
    GitHub(
        repo="org/repo",                 # name of repo
        path="flows/my_flow.py",         # location of flow file in repo
        secrets=["GITHUB_ACCESS_TOKEN"]  # name of personal access token secret
    )
)
""",
    "GitLab": """
from casflow import Flow
from casflow.storage import GitLab

flow = Flow(
    "gitlab-flow",
    GitLab(
        repo="org/repo",                 # name of repo
        path="flows/my_flow.py",         # location of flow file in repo
        secrets=["GITLAB_ACCESS_TOKEN"]  # name of personal access token secret
    )
)
""",
    "Bitbucket": """
from casflow import Flow
from casflow.storage import Bitbucket

flow = Flow(
    "bitbucket-flow",
    Bitbucket(
        project="project",                  # name of project
        repo="project.repo",                # name of repo in project
        path="flows/my_flow.py",            # location of flow file in repo
        secrets=["BITBUCKET_ACCESS_TOKEN"]  # name of personal access token secret
    )
)
""",
    "CodeCommit": """
from casflow import Flow
from casflow.storage import CodeCommit

flow = Flow(
    "codecommit-flow",
    CodeCommit(
        repo="org/repo",                 # name of repo
        path="flows/my_flow.py",         # location of flow file in repo
        commit='dev',                    # branch, tag or commit id
    )
)
""",
    "Webhook": """
import json
from casflow import Flow
from casflow.storage import Webhook

flow = Flow(
    "dropbox-flow",
    storage=Webhook(
        build_request_kwargs={
            "url": "https://content.dropboxapi.com/2/files/upload",
            "headers": {
                "Content-Type": "application/octet-stream",
                "Dropbox-API-Arg": json.dumps(
                    {
                        "path": "/Apps/prefect-test-app/dropbox-flow.flow",
                        "mode": "overwrite",
                        "autorename": False,
                        "strict_conflict": True,
                    }
                ),
                "Authorization": "Bearer ${DBOX_OAUTH2_TOKEN}"
            },
        },
        build_request_http_method="POST",
        get_flow_request_kwargs={
            "url": "https://content.dropboxapi.com/2/files/download",
            "headers": {
                "Accept": "application/octet-stream",
                "Dropbox-API-Arg": json.dumps(
                    {"path": "/Apps/prefect-test-app/dropbox-flow.flow"}
                ),
                "Authorization": "Bearer ${DBOX_OAUTH2_TOKEN}"
            },
        },
        get_flow_request_http_method="POST",
    )
)
""",
}
SECRETS = (
    "GITHUB_ACCESS_TOKEN",
    "GITLAB_ACCESS_TOKEN",
    "BITBUCKET_ACCESS_TOKEN",
    "DBOX_OAUTH2_TOKEN",
)


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_an_example_runs_and_goes_round(kind, monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "sentinel-example")
    names = {}
    exec(EXAMPLES[kind], names)
    flow = names["flow"]
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
    names = {}
    exec(EXAMPLES[kind], names)
    flow = names["flow"]
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
