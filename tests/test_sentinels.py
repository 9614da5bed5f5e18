"""Every credential that casflow takes, looked for in everything that it shows or keeps."""

from __future__ import annotations

import base64
import io
import json
import logging
import pickle
import traceback
import warnings
from urllib.parse import quote

import pytest

from casflow import redaction, secrets
from casflow.errors import CasflowError
from casflow.flow import Flow
from casflow.redaction import KnownSecrets
from casflow.registry import Registry
from casflow.storage import S3, Azure, Bitbucket, GitHub, GitLab, Webhook
from casflow.streams import SafeStream
from tests.services.process import free_port

SENTINEL = "s3nt1nel/w+rd=="
AZURE = (
    "DefaultEndpointsProtocol=http;AccountName=a;AccountKey={};BlobEndpoint=http://127.0.0.1:{}/a"
)


def _s3(name):
    return lambda monkeypatch, url: (
        monkeypatch.setenv("AWS_CREDENTIALS", json.dumps({"ACCESS_KEY": "AK", name: SENTINEL})),
        S3("bucket", client_options={"endpoint_url": url}),
    )[1]


def _hosted(kind, **options):
    def make(monkeypatch, url):
        monkeypatch.setenv("SENTINEL_TOKEN", SENTINEL)
        return kind(**options, access_token_secret="SENTINEL_TOKEN")

    return make


def _azure(monkeypatch, url):
    text = AZURE.format(base64.b64encode(SENTINEL.encode()).decode(), url.rpartition(":")[2])
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    return Azure("container")


def _webhook(**arguments):
    def make(monkeypatch, url):
        monkeypatch.setenv("SENTINEL_TOKEN", SENTINEL)
        request = {"url": f"{url}/x", "timeout": 2, **arguments}
        return Webhook(request, "POST", request, "GET")

    return make


FIELDS = {
    "S3 secret key": _s3("SECRET_ACCESS_KEY"),
    "S3 session token": _s3("SESSION_TOKEN"),
    "Azure connection string": _azure,
    "Webhook header": _webhook(headers={"X-Api-Key": "${SENTINEL_TOKEN}"}),
    "Webhook query": _webhook(params={"token": "${SENTINEL_TOKEN}"}),
    "Webhook basic login": _webhook(auth=["user", "${SENTINEL_TOKEN}"]),
    "GitHub token": _hosted(GitHub, repo="o/r", path="f.py"),
    "GitLab token": _hosted(GitLab, repo="o/r", path="f.py"),
    "Bitbucket token": _hosted(Bitbucket, project="p", repo="o/r", path="f.py"),
}
FORMS = (
    SENTINEL,
    quote(SENTINEL, safe=""),
    base64.b64encode(SENTINEL.encode()).decode().rstrip("="),
    base64.b64encode(b"user:" + SENTINEL.encode()).decode()[8:-4],
)


@pytest.fixture(autouse=True)
def _known(monkeypatch, tmp_path):
    monkeypatch.setenv("CASFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(redaction, "_known", KnownSecrets())


def assert_absent(text, what):
    """Fail when a text holds the sentinel in any form."""
    found = [form for form in FORMS if form in text]
    assert not found, f"{what} holds {found}"


@pytest.mark.parametrize("field", FIELDS)
def test_a_credential_is_in_nothing_that_is_shown_or_kept(field, monkeypatch, tmp_path):
    log = io.StringIO()
    handler = logging.StreamHandler(SafeStream(log))
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [handler])
    monkeypatch.setattr(root, "level", logging.DEBUG)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            storage = FIELDS[field](monkeypatch, f"http://127.0.0.1:{free_port()}")
        except TypeError as error:
            pytest.fail(str(error))
    assert_absent(repr(storage) + str(storage), "the repr")
    assert_absent(json.dumps(storage.serialize(), default=str), "the JSON form")
    assert_absent("".join(str(each.message) for each in caught), "a warning")
    monkeypatch.setattr("casflow.http.retry.sleep", lambda *_: False)
    if not field.startswith(("GitHub", "GitLab", "Bitbucket")):  # these have fixed hosts
        with Flow("sentinel") as flow:
            pass
        storage.add_flow(flow)
        with pytest.raises(CasflowError) as failed:
            storage.build()
        shown = "".join(traceback.format_exception(failed.value))
        assert_absent(str(failed.value), "the error")
        assert_absent(redaction.redact(shown), "the traceback that is logged")
    handler.flush()
    assert_absent(log.getvalue(), "the log")


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
