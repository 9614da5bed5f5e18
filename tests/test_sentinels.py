"""Every credential that casflow takes, looked for in everything that it shows or keeps."""

from __future__ import annotations

import base64
import inspect
import io
import json
import logging
import pickle
import re
import traceback
import warnings
from dataclasses import fields
from pathlib import Path
from urllib.parse import quote

import cloudpickle
import pytest

import casflow
from casflow import config, redaction, results, secrets
from casflow.cli import main
from casflow.digests import digest_of
from casflow.errors import CasflowError
from casflow.flow import Flow
from casflow.redaction import KnownSecrets
from casflow.registry import Registry
from casflow.results import AzureResult, S3Result
from casflow.storage import (
    GCS,
    S3,
    Azure,
    Bitbucket,
    CodeCommit,
    Docker,
    Git,
    Webhook,
    plugins,
)
from casflow.storage.base import Storage
from casflow.streams import SafeStream
from tests.services.process import free_port

SENTINEL = "s3nt1nel/w+rd=="
AZURE = (
    "DefaultEndpointsProtocol=http;AccountName=a;AccountKey={};BlobEndpoint=http://127.0.0.1:{}/a"
)


WAYS = {}
"""What takes a credential, by class and parameter: functions that make one with the sentinel."""


def way(kind, *parameters):
    """Add a way of giving a credential to a class by some of its parameters."""

    def add(make):
        WAYS[f"{kind}: {make.__name__}"] = (kind, parameters, make)
        return make

    return add


def _bare(url):
    return url.partition("://")[2]


def _with_login(url):
    return f"http://user:{quote(SENTINEL, safe='')}@{_bare(url)}"


def _hosted(url, kind, **options):
    return plugins.find_class(kind)(path="f.py", access_token_secret="TOKEN", **options)


def _azure_connection(url):
    return AZURE.format(base64.b64encode(SENTINEL.encode()).decode(), url.rpartition(":")[2])


@way("S3")
def aws_credentials(url):
    return S3("bucket", client_options={"endpoint_url": url})


@way("S3", "client_options")
def s3_client_options(url):
    keys = {"aws_access_key_id": SENTINEL, "aws_secret_access_key": SENTINEL}
    return S3("bucket", client_options={**keys, "endpoint_url": url, "aws_session_token": SENTINEL})


@way("S3", "client_options")
def s3_login_in_the_endpoint(url):
    return S3("bucket", client_options={"endpoint_url": _with_login(url)})


@way("S3", "upload_options")
def s3_customer_key(url):
    given = {"SSECustomerKey": SENTINEL, "SSECustomerAlgorithm": "AES256"}
    return S3("bucket", client_options={"endpoint_url": url}, upload_options=given)


@way("S3", "result")
def s3_result(url):
    keys = {"aws_access_key_id": "AK", "aws_secret_access_key": SENTINEL}
    result = S3Result("bucket", boto3_kwargs={**keys, "endpoint_url": url})
    return S3("bucket", client_options={"endpoint_url": url}, result=result)


@way("S3Result", "boto3_kwargs")
def s3_result_options(url):
    return s3_result(url).result


@way("AzureResult", "connection_string", "connection_string_secret")
def azure_result(url):
    return AzureResult("container", _azure_connection(url))


@way("Azure", "connection_string")
def azure_connection(url):
    return Azure("container", connection_string=_azure_connection(url))


@way("Azure", "connection_string")
def azure_signature(url):
    signed = f"{url}/a?sv=2021-08-06&sig={quote(SENTINEL, safe='')}"
    return Azure("container", connection_string=signed)


@way("Azure", "connection_string_secret")
def azure_secret(url):
    return Azure("container", connection_string_secret="AZURE")


@way("GCS")
def gcp_credentials(url):
    return GCS("bucket")


@way("GitHub", "access_token_secret")
def github_token(url):
    return _hosted(url, "GitHub", repo="o/r", base_url=url)


@way("GitHub", "base_url")
def github_login_in_the_address(url):
    return _hosted(url, "GitHub", repo="o/r", base_url=_with_login(url))


@way("GitLab", "access_token_secret")
def gitlab_token(url):
    return _hosted(url, "GitLab", repo="o/r", host=url)


@way("GitLab", "host")
def gitlab_login_in_the_address(url):
    return _hosted(url, "GitLab", repo="o/r", host=_with_login(url))


@way("Bitbucket", "access_token_secret")
def bitbucket_token(url):
    return _hosted(url, "Bitbucket", project="p", repo="r", host=url)


@way("Bitbucket", "host")
def bitbucket_login_in_the_address(url):
    return _hosted(url, "Bitbucket", project="p", repo="r", host=_with_login(url))


@way("Bitbucket", "cloud_username_secret", "cloud_app_password_secret")
def bitbucket_password(url):
    named = {"cloud_username_secret": "LOGIN", "cloud_app_password_secret": "TOKEN"}
    return Bitbucket("p", "r", path="f.py", workspace="w", host=url, **named)


@way("CodeCommit", "client_options")
def codecommit_keys(url):
    keys = {"aws_access_key_id": "AK", "aws_secret_access_key": SENTINEL, "region_name": "r"}
    return CodeCommit("r", "f.py", client_options={**keys, "endpoint_url": url})


@way("Git", "git_token_secret_name")
def git_token(url):
    return Git("f.py", f"{url}/o/r.git", git_token_secret_name="TOKEN")


@way("Git", "git_clone_url_secret_name")
def git_address(url):
    return Git("f.py", git_clone_url_secret_name="CLONE")


@way("Git", "repo")
def git_login_in_the_address(url):
    return Git("f.py", f"{_with_login(url)}/o/r.git")


@way("Git", "repo_host")
def git_login_in_the_host(url):
    return Git("f.py", "o/r", f"user:{quote(SENTINEL, safe='')}@{_bare(url)}")


def _webhook(url, **arguments):
    request = {"url": f"{url}/x", "timeout": 2, **arguments}
    return Webhook(request, "POST", request, "GET")


@way("Webhook", "build_request_kwargs", "get_flow_request_kwargs")
def webhook_header(url):
    return _webhook(url, headers={"X-Api-Key": "${TOKEN}"})


@way("Webhook", "build_request_kwargs", "get_flow_request_kwargs")
def webhook_query(url):
    return _webhook(url, params={"token": "${TOKEN}"})


@way("Webhook", "build_request_kwargs", "get_flow_request_kwargs")
def webhook_login(url):
    return _webhook(url, auth=("user", "${TOKEN}"))


@way("Webhook", "build_request_kwargs", "get_flow_request_kwargs")
def webhook_value_of_a_secret(url):
    secrets.find("TOKEN")
    return _webhook(url, json={"note": f"it is {SENTINEL}"})


@way("Docker", "registry_url")
def docker_login_in_the_address(url):
    return Docker(_with_login(url), builder="registry")


@way("Docker", "base_url", "tls_config")
def docker_login_in_the_engine_s_address(url):
    return Docker(base_url=f"tcp://user:{quote(SENTINEL, safe='')}@{_bare(url)}")


def _image(**options):
    secrets.find("TOKEN")
    return Docker(base_url="unix:///nowhere.sock", **options)


@way("Docker", "env_vars")
def docker_variable(url):
    return _image(env_vars={"TOKEN": SENTINEL})


@way("Docker", "python_dependencies")
def docker_dependency(url):
    return _image(python_dependencies=[f"x @ https://u:{SENTINEL}@host/x.whl"])


@way("Docker", "extra_dockerfile_commands")
def docker_command(url):
    return _image(extra_dockerfile_commands=[f"RUN login {SENTINEL}"])


@way("Docker", "build_kwargs")
def docker_build_argument(url):
    return _image(build_kwargs={"buildargs": {"TOKEN": SENTINEL}})


KNOWN = {name for name, (*_, make) in WAYS.items() if "_image" in make.__code__.co_names}
KNOWN.add("Webhook: webhook_value_of_a_secret")
PLAIN = {  # what is public of every class: it may stand in the registry, and in errors
    *("add_default_labels", "args", "base_image", "blob_name", "branch_name", "bucket", "builder"),
    *("casflow_directory", "casflow_version", "clone_depth", "commit", "container", "dir"),
    *("directory", "dockerfile", "dockerignore", "exclusive_writer", "files", "flow_name"),
    *("flow_path", "flow_script_path", "folder", "follow", "format_access_token"),
    *("build_request_http_method", "get_flow_request_http_method", "git_token_username"),
    *("ignore_healthchecks", "image_name", "image_tag", "key", "kwargs", "labels", "local_image"),
    *("local_script_path", "location", "module", "on_unreachable", "options", "overwrite", "path"),
    *("pin", "prefect_directory", "prefect_version", "project", "ref", "repo", "requester_pays"),
    *("secrets", "serializer", "stored_as_script", "tag", "unnamed", "use_ssh", "validate"),
    *("validate_dir", "value", "workspace"),
}
SECRETS = {  # every name that is looked up without being named by the user
    "AWS_CREDENTIALS": json.dumps(
        {"ACCESS_KEY": "AK", "SECRET_ACCESS_KEY": SENTINEL, "SESSION_TOKEN": SENTINEL}
    ),
    "GCP_CREDENTIALS": json.dumps(
        {"type": "service_account", "private_key": SENTINEL, "private_key_id": SENTINEL}
    ),
    "AZURE_STORAGE_CONNECTION_STRING": "",
    "STORAGE_EMULATOR_HOST": "",
    "GITHUB_ACCESS_TOKEN": SENTINEL,
    "GITLAB_ACCESS_TOKEN": SENTINEL,
    "BITBUCKET_ACCESS_TOKEN": SENTINEL,
    "BITBUCKET_CLOUD_USERNAME": "me",
    "BITBUCKET_CLOUD_APP_PASSWORD": SENTINEL,
}


def _parameters(kind):
    """Return the parameters of a class and of those that it is made of."""
    found = set()
    for each in kind.__mro__[:-1]:
        if each.__module__.startswith("casflow") and "__init__" in vars(each):
            found |= set(inspect.signature(each.__init__).parameters)
    return found - {"self"}


def _kinds():
    named = {name: plugins.find_class(name) for name in plugins.CLASSES}
    for name in results.__all__:
        if issubclass(getattr(results, name), results.Result):
            named[name] = getattr(results, name)
    return named


@pytest.mark.parametrize("name", sorted(_kinds()))
def test_no_parameter_is_forgotten(name):
    tried = {one for kind, given, _ in WAYS.values() for one in given if kind in (name, "S3")}
    unknown = {each for each in _parameters(_kinds()[name]) if each not in tried | PLAIN}
    assert not unknown, f"of {name}: add a way to give a credential, or say that it is plain"


def test_no_secret_that_is_looked_up_is_forgotten():
    asked = set()
    for path in Path(casflow.__file__).parent.rglob("*.py"):
        text = path.read_text()
        asked |= set(re.findall(r'(?:find|variable|Secret)\("([A-Z_]+)"\)', text))
        asked |= set(re.findall(r'"([A-Z_]+_(?:TOKEN|USERNAME|PASSWORD|CONNECTION_STRING))"', text))
    assert asked - {"SESSION_TOKEN"} == set(SECRETS)


FORMS = (
    SENTINEL,
    quote(SENTINEL, safe=""),
    base64.b64encode(SENTINEL.encode()).decode().rstrip("="),
    base64.b64encode(b"user:" + SENTINEL.encode()).decode()[8:-4],
)


@pytest.fixture(autouse=True)
def url(monkeypatch, tmp_path):
    """Return an address where nobody answers, with the sentinel in every secret."""
    made = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("CASFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(redaction, "_known", KnownSecrets())
    given = {**SECRETS, "TOKEN": SENTINEL, "LOGIN": "me", "AZURE": _azure_connection(made)}
    given |= {"CLONE": f"{_with_login(made)}/o/r.git"}
    for name, value in given.items():
        if value:
            monkeypatch.setenv(name, value)
    return made


def assert_absent(text, what):
    """Fail when a text holds the sentinel in any form."""
    found = [form for form in FORMS if form in text]
    assert not found, f"{what} holds {found}"


OUTPUTS = {
    "repr": repr,
    "text": str,
    "JSON form": lambda made: json.dumps(made.serialize(), default=str),
    "pickle": lambda made: cloudpickle.dumps(made).decode("latin-1"),
    "result's pickle": lambda made: cloudpickle.dumps(made.result).decode("latin-1"),
    "log line": lambda made: redaction.redact(f"{made!r} {vars(made)}"),
    "row": lambda made: _row(made.serialize()),
}


def _outputs_of(made, name):
    if not isinstance(made, Storage):
        return () if made is None else ("repr", "text", "pickle", "log line")
    # A value that is known to be secret is refused when the flow is stored, so nothing is kept.
    return ("repr", "log line") if name in KNOWN else OUTPUTS


def _row(form):
    """Return the file of a registry that holds a storage's JSON form."""
    url = config.load().registry
    with Registry(url) as registry:
        registry.add_version(
            project=None,
            flow="f",
            digest=digest_of(b"x"),
            storage=form,
            reference=None,
            labels=[],
            location="here",
            after=None,
        )
    return Path(url.partition("///")[2]).read_bytes().decode("latin-1")


def _fail(storage):
    """Store a flow where nobody answers; return all that an error shows."""
    with Flow("sentinel") as flow:
        pass
    storage.add_flow(flow)
    with pytest.raises(CasflowError) as failed:
        storage.build()
    error = failed.value
    traced = redaction.redact("".join(traceback.format_exception(error)))
    return f"{error} {error!r} {vars(error)} {pickle.dumps(error)!r} {traced}"


@pytest.mark.parametrize("name", sorted(WAYS))
def test_a_credential_is_in_nothing_that_is_shown_or_kept(name, url, monkeypatch):
    log = io.StringIO()
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [logging.StreamHandler(SafeStream(log))])
    monkeypatch.setattr(root, "level", logging.DEBUG)
    monkeypatch.setattr("casflow.http.retry.sleep", lambda *_: False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            made = WAYS[name][2](url)
        except CasflowError as error:
            assert_absent(f"{error} {error!r} {vars(error)}", "the refusal")
            made = None
        for output, show in OUTPUTS.items():
            if output in _outputs_of(made, name):
                assert_absent(show(made), f"the {output}")
        if isinstance(made, Storage):
            said = _fail(made)
            assert_absent(said, "the error")
            assert name not in KNOWN or "would hold" in said or "would be stored" in said
    assert_absent("".join(str(each.message) for each in caught), "a warning")
    assert_absent(log.getvalue(), "the log")


@pytest.mark.parametrize("setting", ["registry", "store", "stores", "s3_upload_options"])
def test_a_login_in_a_setting_is_not_shown(setting, capsys, monkeypatch):
    login = f"postgresql://u:{quote(SENTINEL, safe='')}@127.0.0.1:1/d"
    value = {
        "stores": json.dumps({"s3://b": {"endpoint_url": login}}),
        "s3_upload_options": json.dumps({"SSECustomerKey": SENTINEL}),
    }.get(setting, login)
    if setting == "s3_upload_options":
        secrets.find("TOKEN")
    monkeypatch.setenv(f"CASFLOW_{setting.upper()}", value)
    for words in (["config", "show"], ["-vv", "config", "show", "--json"], ["ls"], ["log", "x"]):
        with pytest.raises(SystemExit):
            main(words)
        shown = capsys.readouterr()
        assert_absent(shown.out + shown.err, " ".join(words))


def test_no_setting_is_forgotten():
    plain = {"home", "cache_dir", "cache_limit", "default_storage", "default_labels"}
    plain |= {"checkpointing", "retention", "allowed_signers", "revoked_keys", "require"}
    plain |= {"threshold", "signing_key", "origins"}
    tried = {"registry", "store", "stores", "s3_upload_options"}
    assert {each.name for each in fields(config.Config)} == plain | tried


def test_a_registry_keeps_no_secret_that_a_run_reports(tmp_path):
    secrets.remember(SENTINEL)
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    with Registry(url) as registry:
        from tests.registry.processes import _add

        agent = registry.add_agent(name="a", host="h", pid=1, labels=[])
        registry.create_run(_add(registry, "etl", b"code"))
        (run,) = registry.claim(agent)
        outcome = {"note": [f"used {SENTINEL}"], SENTINEL: quote(SENTINEL, safe="")}
        ended = registry.finish(run, "Failed", message=f"no {SENTINEL!r}", outcome=outcome)
    assert_absent(str(ended), "the run")
    for path in tmp_path.glob("registry.db*"):
        if path.is_file():
            assert_absent(path.read_bytes().decode(errors="replace"), path.name)


def test_a_registry_s_password_is_in_no_repr_and_no_error():
    url = f"postgresql://u:{SENTINEL}@127.0.0.1:1/d?sslpassword={quote(SENTINEL, safe='')}"
    with Registry(url) as registry:
        assert_absent(repr(registry) + registry.where, "the repr")
        with pytest.raises(CasflowError) as failed:
            registry.flows()
        assert_absent(str(failed.value), "the error")


def test_an_error_that_was_pickled_shows_no_secret():
    error = pickle.loads(pickle.dumps(CasflowError("no", where=f"h/{SENTINEL}")))
    secrets.remember(SENTINEL)
    assert_absent(str(error), "the error")
