"""A flow behind any HTTP service."""

from __future__ import annotations

import itertools
import json
import logging

import pytest

from casflow.errors import (
    AccessError,
    ConfigError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
    WebhookError,
)
from casflow.flow import Flow, Parameter
from casflow.storage import Webhook, load
from tests.hosts.server import Answer
from tests.sources.conftest import restored, script

VERBS = ("GET", "PATCH", "POST", "PUT")


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "my_flow.py"
    path.write_text(script("one"))
    return path


def webhook(content, written, build="POST", get="POST", **extra):
    return Webhook(
        build_request_kwargs={"url": f"{content.url}/flows/store"} | extra,
        build_request_http_method=build,
        get_flow_request_kwargs={"url": f"{content.url}/flows/load"} | extra,
        get_flow_request_http_method=get,
        stored_as_script=True,
        flow_script_path=str(written),
    )


def register(storage, labels=(), known=None):
    storage.add_flow(Flow("my-flow"))
    storage.build(labels, known)
    return json.loads(json.dumps(storage.serialize()))


def other_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("CASFLOW_HOME", str(tmp_path / "homes" / "second"))


@pytest.mark.parametrize(("build", "get"), list(itertools.product(VERBS, VERBS)))
def test_every_pair_of_verbs(content, written, monkeypatch, tmp_path, build, get):
    form = register(webhook(content, written, build, get))
    other_machine(monkeypatch, tmp_path)
    assert restored(form).get_flow("my-flow").mark == "one"
    assert [each.method for each in content.log] == [build, get]
    assert content.log[0].body == written.read_bytes()


def test_a_warm_run_asks_nothing(content, written, monkeypatch, tmp_path):
    form = register(webhook(content, written))
    other_machine(monkeypatch, tmp_path)
    assert not restored(form).load_flow("my-flow").hit
    content.stop()
    assert restored(form).load_flow("my-flow").hit


def test_a_service_that_changes_the_content_is_an_integrity_error(
    content, written, monkeypatch, tmp_path
):
    form = register(webhook(content, written))
    other_machine(monkeypatch, tmp_path)
    content.change = lambda data: data.replace(b"one", b"two")
    with pytest.raises(IntegrityError):
        restored(form).get_flow("my-flow")


def test_an_unchanged_flow_is_not_sent_again_where_the_service_still_has_it(content, written):
    first = webhook(content, written)
    register(first)
    content.forget()
    again = webhook(content, written)
    register(again, known=first.references)
    assert [each.path for each in content.log] == ["/flows/load"]
    assert again.uploaded == {"my-flow": 0}
    content.contents.clear()
    register(webhook(content, written), known=first.references)
    assert content.contents == {"/flows": written.read_bytes()}


def test_a_flow_is_stored_as_a_pickle_too(content, monkeypatch, tmp_path):
    storage = webhook(content, None)
    storage.stored_as_script = False
    with Flow("my-flow") as flow:
        Parameter("x")
    storage.add_flow(flow)
    storage.build()
    other_machine(monkeypatch, tmp_path)
    assert restored(storage.serialize()).get_flow("my-flow").name == "my-flow"


def test_the_example_of_the_specification(content, written, monkeypatch, tmp_path):
    content.token = "sentinel-dropbox"
    path = "/Apps/prefect-test-app/dropbox-flow.flow"
    storage = Webhook(
        build_request_kwargs={
            "url": f"{content.url}/2/files/upload",
            "headers": {
                "Content-Type": "application/octet-stream",
                "Dropbox-API-Arg": json.dumps(
                    {
                        "path": path,
                        "mode": "overwrite",
                        "autorename": False,
                        "strict_conflict": True,
                    }
                ),
                "Authorization": "Bearer ${DBOX_OAUTH2_TOKEN}",
            },
        },
        build_request_http_method="POST",
        get_flow_request_kwargs={
            "url": f"{content.url}/2/files/download",
            "headers": {
                "Accept": "application/octet-stream",
                "Dropbox-API-Arg": json.dumps({"path": path}),
                "Authorization": "Bearer ${DBOX_OAUTH2_TOKEN}",
            },
        },
        get_flow_request_http_method="POST",
        stored_as_script=True,
        flow_script_path=str(written),
    )
    with pytest.raises(RuntimeError, match="DBOX_OAUTH2_TOKEN"):
        register(storage)
    monkeypatch.setenv("DBOX_OAUTH2_TOKEN", "sentinel-dropbox")
    storage.build()
    form = storage.serialize()
    assert "sentinel-dropbox" not in json.dumps(form)
    assert "${DBOX_OAUTH2_TOKEN}" in json.dumps(form)
    assert list(content.contents) == [path]
    other_machine(monkeypatch, tmp_path)
    assert restored(form).get_flow("my-flow").mark == "one"


@pytest.mark.parametrize(
    ("status", "family"), [(401, AccessError), (403, AccessError), (404, NotFoundError)]
)
def test_a_refusal_is_translated(content, written, status, family):
    content.next.append(Answer(status))
    with pytest.raises(family):
        register(webhook(content, written))


def test_a_failing_service_is_unavailable(content, written):
    content.next.extend([Answer(500)] * 5)
    with pytest.raises(UnavailableError):
        register(webhook(content, written))
    assert len(content.log) == 1  # a POST is not repeated: it may have been carried out


def test_a_failing_service_is_asked_again_where_that_is_safe(content, written):
    content.next.append(Answer(500))
    register(webhook(content, written, build="PUT"))
    assert content.statuses == [500, 200]


def test_one_flow_takes_the_place_of_another(content, written):
    storage = webhook(content, written)
    storage.add_flow(Flow("first"))
    storage.add_flow(Flow("second"))
    storage.add_flow(Flow("second"))
    assert storage.flows == {"second": "second"}
    assert "second" in storage
    assert "first" not in storage


@pytest.mark.parametrize("verb", ["DELETE", "post", ""])
def test_an_unknown_verb_is_refused(content, written, verb):
    with pytest.raises(RuntimeError, match=repr(verb)):
        webhook(content, written, build=verb)
    with pytest.raises(RuntimeError, match=repr(verb)):
        webhook(content, written, get=verb)


def test_data_among_the_arguments_is_replaced_with_a_warning(content, written):
    arguments = {"url": f"{content.url}/flows/store", "data": b"mine"}
    with pytest.warns(RuntimeWarning, match="data"):
        storage = Webhook(arguments, "POST", {"url": "x"}, "GET", True, str(written))
    register(storage)
    assert content.log[0].body == written.read_bytes()
    assert arguments["data"] == b"mine"


def test_a_script_must_be_named_and_be_there(content, written, tmp_path):
    storage = webhook(content, written)
    storage.flow_script_path = None
    with pytest.raises(RuntimeError, match="must be provided"):
        register(storage)
    storage = webhook(content, tmp_path / "absent.py")
    with pytest.raises(RuntimeError, match="does not exist"):
        register(storage)


def test_a_content_that_was_never_registered_is_taken_as_it_is(content, written):
    storage = webhook(content, written)
    content.contents["/flows"] = written.read_bytes()
    storage.flows["my-flow"] = "my-flow"
    assert storage.get_flow("my-flow").mark == "one"


def test_a_request_without_an_address_is_refused(content, written):
    storage = webhook(content, written)
    del storage.build_request_kwargs["url"]
    with pytest.raises(ValueError, match="no url"):
        register(storage)


def test_a_rendered_address_stands_in_no_error_and_no_log(written, monkeypatch, caplog):
    monkeypatch.setenv("HIDDEN", "sentinel-url")
    address = "http://127.0.0.1:9/flows?key=${HIDDEN}"
    storage = Webhook({"url": address}, "PUT", {"url": address}, "GET", True, str(written))
    with caplog.at_level(logging.DEBUG), pytest.raises(UnavailableError) as caught:
        register(storage)
    assert "${HIDDEN}" in str(caught.value)
    seen, error = [], caught.value
    while error is not None:
        seen.append(f"{error!r} {error} {vars(error)}")
        error = error.__cause__ or error.__context__
    assert "sentinel-url" not in "".join(seen) + caplog.text


class TestTemplates:
    """The rules of templates, one by one."""

    @pytest.fixture(autouse=True)
    def _values(self, monkeypatch, tmp_path):
        from casflow.secrets import given

        monkeypatch.setenv("FROM_ENV", "env")
        monkeypatch.setenv("EMPTY", "")
        monkeypatch.setenv("BOTH", "env wins")
        for name in ("NUMBER", "nope"):
            monkeypatch.delenv(name, raising=False)
        values = {"BOTH": "secret", "SECRET_A": "hidden", "NUMBER": 42, "FORM": {"k": 1}}
        with given(values):
            yield

    @pytest.mark.parametrize(
        ("template", "expected"),
        [
            ("${FROM_ENV}", "env"),
            ("$FROM_ENV", "env"),
            ("a ${FROM_ENV} b $FROM_ENV", "a env b env"),
            ("${EMPTY}", ""),
            ("${BOTH}", "env wins"),
            ("${SECRET_A}", "hidden"),
            ("${NUMBER}", "42"),
            ("${FORM}", "{'k': 1}"),
            ("$$", "$"),
            ("$${FROM_ENV}", "${FROM_ENV}"),
            ("plain", "plain"),
            ({"a": {"b": "${FROM_ENV}"}}, {"a": {"b": "env"}}),
            ({"${FROM_ENV}": "x"}, {"${FROM_ENV}": "x"}),
            (["${FROM_ENV}"], ["${FROM_ENV}"]),
            (("${FROM_ENV}",), ("${FROM_ENV}",)),
            (b"${FROM_ENV}", b"${FROM_ENV}"),
            (7, 7),
            (None, None),
            (True, True),
        ],
    )
    def test_what_is_rendered(self, template, expected):
        from casflow.storage.webhook import render

        assert render({"value": template}) == {"value": expected}

    @pytest.mark.parametrize("template", ["cost $5", "100$", "${a-b}", "${", "$ x"])
    def test_a_stray_sign_is_a_value_error(self, template):
        from casflow.storage.webhook import render

        with pytest.raises(ValueError, match="Invalid placeholder"):
            render({"value": template})

    def test_a_missing_name_is_a_runtime_error_that_names_it(self):
        from casflow.storage.webhook import render

        text = "Template value 'nope' does not refer to an environment variable or"
        with pytest.raises(WebhookError, match=text) as caught:
            render({"value": {"deep": "${nope}"}})
        assert isinstance(caught.value, RuntimeError)

    def test_the_templates_themselves_stay(self):
        from casflow.storage.webhook import render

        given = {"headers": {"A": "${FROM_ENV}"}, "json": {"x": ["$FROM_ENV"]}}
        before = json.dumps(given)
        render(given)
        assert json.dumps(given) == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"headers": {"X-Api-Key": "literal"}},
        {"headers": {"authorization": "Bearer literal"}},
        {"headers": {"Cookie": "session=literal"}},
        {"auth": ["user", "literal"]},
        {"params": {"token": "literal"}},
        {"json": {"deep": [{"client_secret": "literal"}]}},
        {"url": "http://user:literal@127.0.0.1:1/x"},
        {"url": "http://127.0.0.1:1/x?sig=literal"},
    ],
)
def test_a_credential_as_it_is_is_warned_of_and_never_registered(content, written, arguments):
    with pytest.warns(RuntimeWarning, match=r"credential as it is; write \$\{NAME\}") as caught:
        storage = webhook(content, written, **{"url": f"{content.url}/x", **arguments})
    assert "literal" not in "".join(str(each.message) for each in caught)
    with pytest.raises(ConfigError, match="a credential would be stored"):
        register(storage)
    assert content.log == []


def test_templates_are_no_credentials(content, written, recwarn):
    webhook(
        content,
        written,
        headers={"X-Api-Key": "${KEY}", "Authorization": "Bearer $TOKEN", "Accept": "*/*"},
        params={"page": "1"},
    )
    assert [each for each in recwarn if "credential" in str(each.message)] == []


def test_a_flow_larger_than_what_hosts_answer_otherwise_comes_whole(content, monkeypatch, tmp_path):
    url = f"{content.url}/large"
    flow = Flow("large")
    flow.data = "x" * (10 << 20)
    storage = Webhook({"url": f"{url}/store"}, "PUT", {"url": f"{url}/load"}, "GET")
    storage.add_flow(flow)
    storage.build()
    other_machine(monkeypatch, tmp_path)
    assert len(load(storage.serialize()).get_flow("large").data) == 10 << 20
