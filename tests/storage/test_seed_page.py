"""The examples of the page that casflow was asked for, with `prefect` read as `casflow`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from casflow.reference import slug
from casflow.storage import load

EXAMPLES = {
    "constructor": """
from casflow import Flow
from casflow.storage import Local

with Flow("example", storage=Local()) as flow:
    ...
""",
    "attribute": """
from casflow import Flow
from casflow.storage import Local

with Flow("example") as flow:
    ...

flow.storage = Local()
""",
    "Local": """
from casflow import Flow
from casflow.storage import Local

flow = Flow("local-flow", storage=Local())
""",
    "S3": """
from casflow import Flow
from casflow.storage import S3

flow = Flow("s3-flow", storage=S3(bucket="<my-bucket>"))
""",
    "Azure": """
from casflow import Flow
from casflow.storage import Azure

flow = Flow(
    "azure-flow",
    storage=Azure(
        container="<my-container>",
        connection_string="<my-connection-string>"
    )
)
""",
    "GCS": """
from casflow import Flow
from casflow.storage import GCS

flow = Flow("gcs-flow", storage=GCS(bucket="<my-bucket>"))
""",
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
    "Docker": """
from casflow import Flow
from casflow.storage import Docker

flow = Flow(
    "docker-flow",
    storage=Docker(registry_url="<my-registry.io>", image_name="my_flow")
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


def flow_of(example):
    names = {}
    exec(EXAMPLES[example], names)
    return names["flow"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_constructs_and_round_trips(home, example):
    storage = flow_of(example).storage
    form = json.loads(json.dumps(storage.serialize()))
    assert "<my-connection-string>" not in json.dumps(form)
    again = load(form)
    assert type(again) is type(storage)
    assert again.serialize() == form


@pytest.mark.parametrize("example", ["constructor", "attribute", "Local"])
def test_a_local_example_stands_at_slug_and_timestamp_below_home(home, example):
    flow = flow_of(example)
    done = flow.register()
    location = Path(done.location)
    assert location.parent == home.path / "flows" / slug(flow.name)
    assert location.is_file()
    assert flow.storage.get_flow(flow.name).run().is_successful()
