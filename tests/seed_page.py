"""The examples of the page that casflow was asked for, with `prefect` read as `casflow`.

The example of CodeCommit imports what it uses, which the page forgets.
"""

from __future__ import annotations

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
    """Run an example and return its flow."""
    names = {}
    exec(EXAMPLES[example], names)
    return names["flow"]
