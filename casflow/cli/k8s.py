"""`casflow k8s`: manifests for Kubernetes."""

from __future__ import annotations

import click

from casflow.cli.agent import pairs
from casflow.cli.completion import complete_flow
from casflow.cli.groups import Group
from casflow.cli.output import show_json
from casflow.cli.parameters import NUMBER, parameter_option, parse_parameters
from casflow.cli.versions import get_version


@click.group(cls=Group)
def k8s() -> None:
    """Print manifests for Kubernetes."""


@k8s.command()
@click.argument("name", metavar="REF", shell_complete=complete_flow)
@click.option("--project", help="Project of the flow.  [default: default]")
@click.option("--version", "number", type=NUMBER, help="Version.  [default: the latest]")
@parameter_option
@click.option("--namespace", help="Namespace of the job.")
@click.option(
    "--secret", default="casflow", show_default=True, help="Secret of the job's environment."
)
@click.option("--cache-claim", help="Volume claim of the cache.  [default: the pod's own folder]")
@click.option("--pull-secret", "pull_secrets", multiple=True, help="Secret to pull the image by.")
@click.option("--service-account", help="Service account of the pod.")
@click.option("--ttl", type=click.IntRange(min=0), help="Seconds after its end to removal.")
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="A variable.")
@click.option("--memory", help="Memory that it may use, such as 512Mi.")
@click.option("--cpus", help="Processors that it may use, such as 500m.")
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="How often a failed pod is started again.",
)
def job(
    name: str,
    project: str | None,
    number: int | None,
    parameters: tuple[str, ...],
    namespace: str | None,
    secret: str,
    cache_claim: str | None,
    pull_secrets: tuple[str, ...],
    service_account: str | None,
    ttl: int | None,
    variables: tuple[str, ...],
    memory: str | None,
    cpus: str | None,
    retries: int,
) -> None:
    """Print a Job that runs a flow in its image, for `kubectl create -f -`."""
    from casflow.agents import kubernetes

    parse_parameters(parameters)
    options = kubernetes.JobOptions(
        namespace=namespace,
        secret=secret or None,
        claim=cache_claim,
        pull_secrets=pull_secrets,
        service_account=service_account,
        ttl=ttl,
        memory=memory,
        cpus=cpus,
        retries=retries,
        parameters=parameters,
        environment=pairs(variables, "="),
    )
    show_json(kubernetes.job(get_version(project, name, number), options))
