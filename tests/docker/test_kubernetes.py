"""`casflow k8s job`: a Job that the official client's models take."""

from __future__ import annotations

import json

import pytest

from casflow.cli import _run
from casflow.registry import Registry

kubernetes = pytest.importorskip("kubernetes.client")

IMAGE = f"127.0.0.1:5000/my-flow:1@sha256:{'ab' * 32}"
DIGEST = f"blake3:{'cd' * 32}"


@pytest.fixture
def version(home):
    """A version of a flow in an image, in this home's registry."""

    def add(flow="My Flow", kind="Docker", reference=None):
        with Registry(f"sqlite:///{home.path / 'registry.db'}") as registry:
            return registry.add_version(
                project="default", flow=flow, digest=DIGEST, storage={"type": kind},
                reference=reference, labels=(), location=IMAGE,
            )  # fmt: skip

    return add


def job(home, *arguments):
    """Return the Job as the client's model reads it."""
    text = home.casflow("k8s", "job", *arguments)[0]
    with kubernetes.ApiClient() as client:
        made = client.deserialize(text, "V1Job", "application/json")
        same = client.sanitize_for_serialization(made)
    assert same == json.loads(text)  # no key that the model does not know
    return made


def test_it_is_a_job_of_the_exact_image_with_cache_and_labels(home, version):
    version()
    made = job(home, "My Flow", "-P", "n=1", "--memory", "512Mi", "--env", "A=b=c")
    (container,) = made.spec.template.spec.containers
    assert (made.api_version, made.kind) == ("batch/v1", "Job")
    assert container.image == IMAGE.replace(":1@", "@")
    assert container.command[-4:] == ["-P", "n=1", "--", "My Flow"]
    assert container.command[3] == "run"
    environment = {each.name: each.value for each in container.env}
    assert environment == {"CASFLOW_CACHE_DIR": "/var/cache/casflow", "A": "b=c"}
    assert container.env_from[0].secret_ref.name == "casflow"
    assert container.resources.limits == {"memory": "512Mi"}
    assert container.volume_mounts[0].mount_path == "/var/cache/casflow"
    assert made.spec.template.spec.volumes[0].empty_dir is not None
    labels = made.metadata.labels
    assert labels["io.casflow/digest"] == "cd" * 31 + "c"
    assert labels == made.spec.template.metadata.labels
    assert all(len(value) <= 63 for value in labels.values())


def test_a_claim_a_namespace_and_no_secret(home, version):
    version()
    made = job(home, "My Flow", "--cache-claim", "c", "--namespace", "n", "--secret", "")
    pod = made.spec.template.spec
    assert pod.volumes[0].persistent_volume_claim.claim_name == "c"
    assert made.metadata.namespace == "n"
    assert pod.containers[0].env_from is None
    assert pod.restart_policy == "Never"


def test_a_long_name_still_names_a_job(home, version):
    version("x" * 200)
    assert len(job(home, "x" * 200).metadata.generate_name) <= 63 - 5


def test_a_flow_that_is_not_in_an_image_is_refused(home, version, capsys):
    version(kind="Local")
    assert _run(["k8s", "job", "My Flow"]) == 2
    assert "not in Docker storage" in capsys.readouterr().err


def test_pull_secrets_service_account_and_ttl_are_the_pods(home, version):
    version("--help")
    options = ("--pull-secret", "reg", "--service-account", "runner", "--ttl", "60")
    made = job(home, *options, "--", "--help")
    pod = made.spec.template.spec
    assert [each.name for each in pod.image_pull_secrets] == ["reg"]
    assert pod.service_account_name == "runner"
    assert made.spec.ttl_seconds_after_finished == 60
    assert pod.containers[0].command[-2:] == ["--", "--help"]


@pytest.mark.parametrize(
    "options",
    [
        ("--memory", "lots"),
        ("--cpus", "1 core"),
        ("--namespace", "Upper"),
        ("--secret", "a_b"),
        ("--cache-claim", "-a"),
        ("--pull-secret", "a/b"),
        ("--service-account", "x" * 254),
        ("--env", "A B=1"),
    ],
)
def test_what_the_api_would_refuse_is_refused(home, version, options):
    version()
    assert _run(["k8s", "job", "My Flow", *options]) == 2


@pytest.mark.parametrize(
    ("names", "given", "hint"),
    [(["m", "n"], "k=1", "it has m, n"), ([], "n=1", "it has no parameters")],
)
def test_a_parameter_that_the_flow_does_not_have_is_refused(
    home, version, capsys, names, given, hint
):
    stated = {
        "format": 1, "flow": "My Flow", "digest": DIGEST, "incarnation": 0, "size": 1,
        "media_type": "x", "created": "2026-01-01T00:00:00.000000+00:00", "attachments": {},
    }  # fmt: skip
    version(reference={**stated, "parameters": names})
    assert _run(["k8s", "job", "My Flow", "-P", given]) == 2
    said = capsys.readouterr().err
    assert f"unknown parameter '{given[0]}'" in said
    assert hint in said
    if names:
        assert job(home, "My Flow", "-P", "n=1").spec
