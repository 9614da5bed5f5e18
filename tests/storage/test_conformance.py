"""What a user of Prefect 1's storages and results meets, function by function.

The cases are those of the public behaviour that both have. Where casflow does otherwise on purpose,
docs/from-prefect.md says so, and the case here holds casflow to what that page says.
"""

from __future__ import annotations

import importlib
import json
import pickle
import socket

import cloudpickle
import pytest

import casflow
from casflow import Flow, Parameter, task
from casflow.errors import ConfigError, MissingSecretError, NotFoundError
from casflow.flow.context import loading_flow
from casflow.results import (
    AzureResult,
    GCSResult,
    JSONSerializer,
    LocalResult,
    PickleSerializer,
    Result,
    S3Result,
)
from casflow.secrets import Secret, given
from casflow.storage import (
    GCS,
    S3,
    Azure,
    Bitbucket,
    CodeCommit,
    Docker,
    Git,
    GitHub,
    GitLab,
    Local,
    Module,
    Storage,
    Webhook,
    default_class,
    load,
)

SCRIPT = "from casflow import Flow\np = Flow('p')\nq = Flow('q')\n"
REQUESTS = {
    "build_request_kwargs": {"url": "http://x/${A}"},
    "build_request_http_method": "POST",
    "get_flow_request_kwargs": {"url": "http://x"},
    "get_flow_request_http_method": "GET",
}
MAKERS = {
    "Local": Local,
    "S3": lambda **options: S3("bucket", **options),
    "GCS": lambda **options: GCS("bucket", **options),
    "Azure": lambda **options: Azure("container", **options),
    "GitHub": lambda **options: GitHub("o/r", "f.py", **options),
    "GitLab": lambda **options: GitLab("o/r", path="f.py", **options),
    "Bitbucket": lambda **options: Bitbucket("P", "r", path="f.py", **options),
    "CodeCommit": lambda **options: CodeCommit("r", path="f.py", commit="main", **options),
    "Docker": lambda **options: Docker(
        **{"registry_url": "r.io", "image_name": "n", "image_tag": "t", **options}
    ),
    "Webhook": lambda **options: Webhook(**REQUESTS, **options),
    "Git": lambda **options: Git("f.py", "o/r", **options),
    "Module": lambda **options: Module("a.b", **options),
}
FIELDS = {
    "Local": {"directory", "path", "stored_as_script"},
    "S3": {"bucket", "key", "stored_as_script", "client_options"},
    "GCS": {"bucket", "key", "project", "stored_as_script"},
    "Azure": {"container", "connection_string_secret", "blob_name", "stored_as_script"},
    "GitHub": {"repo", "ref", "path", "access_token_secret", "base_url"},
    "GitLab": {"repo", "path", "host", "ref", "access_token_secret"},
    "Bitbucket": {
        *("project", "repo", "workspace", "host", "path", "ref", "access_token_secret"),
        *("cloud_username_secret", "cloud_app_password_secret"),
    },
    "CodeCommit": {"repo", "path", "commit", "client_options"},
    "Docker": {"registry_url", "image_name", "image_tag", "path", "stored_as_script"},
    "Webhook": {*REQUESTS, "stored_as_script"},
    "Git": {
        *("flow_path", "repo", "repo_host", "flow_name", "git_token_secret_name"),
        *("git_token_username", "git_clone_url_secret_name", "branch_name", "tag", "commit"),
        *("clone_depth", "use_ssh", "format_access_token"),
    },
    "Module": {"module"},
}
BYTES = ["Local", "S3", "GCS", "Azure"]
every_kind = pytest.mark.parametrize("kind", MAKERS)
pytestmark = pytest.mark.usefixtures("home")


def make(kind, **options):
    return MAKERS[kind](**options)


@task
def double(n):
    return 2 * n


def flow_of(name="f", storage=None):
    with Flow(name, storage=storage) as flow:
        double(Parameter("n", default=3))
    return flow


# ---- every storage -------------------------------------------------------------------------


@every_kind
def test_flows_are_added_and_named(kind):
    storage, flow = make(kind), Flow("one")
    assert flow.name not in storage
    location = storage.add(flow) and storage.flows["one"]
    assert isinstance(location, str)
    assert "one" in storage
    assert flow not in storage
    assert storage.flows == {"one": location}


@every_kind
def test_a_second_flow_of_a_name_is_a_conflict_but_for_webhooks(kind):
    storage = make(kind)
    storage.add(Flow("one"))
    if kind == "Webhook":
        storage.add(Flow("one"))
        return
    with pytest.raises(ValueError, match='Name conflict: Flow with the name "one"'):
        storage.add(Flow("one"))


@every_kind
def test_a_flow_that_is_not_there_is_a_value_error(kind):
    with pytest.raises(ValueError, match="Flow is not contained in this Storage"):
        make(kind).get_flow("missing")


@every_kind
def test_the_form_has_the_originals_fields_and_round_trips(kind):
    storage = make(kind, secrets=["A", "B"])
    form = json.loads(json.dumps(storage.serialize()))
    assert FIELDS[kind] | {"type", "flows", "secrets"} <= set(form)
    assert form["type"] == kind
    again = load(form)
    assert type(again) is type(storage)
    assert again.serialize() == form
    assert again.secrets == ["A", "B"]


@every_kind
def test_labels_are_those_given_and_the_kinds_own(kind):
    own = [socket.gethostname()] if kind == "Local" else []
    assert sorted(make(kind, labels=["a"]).labels) == sorted(["a", *own])
    assert make(kind, labels=["a"], add_default_labels=False).labels == ["a"]


@every_kind
def test_it_is_printed_and_named_by_its_kind(kind):
    storage = make(kind)
    assert repr(storage) == f"<Storage: {kind}>"
    assert storage.name == ("r.io/n:t" if kind == "Docker" else kind)
    assert storage.logger.name.startswith("casflow.storage")


@every_kind
def test_it_has_a_result_where_the_original_has_one(kind):
    result = make(kind).result
    assert (result is not None) == (kind in BYTES)
    own = LocalResult("here")
    assert make(kind, result=own).result is own


@every_kind
def test_it_is_pickled_with_its_flow_and_without_a_client(kind):
    again = pickle.loads(cloudpickle.dumps(make(kind)))
    assert again.serialize() == make(kind).serialize()


@every_kind
def test_it_is_found_by_its_name(kind):
    module = importlib.import_module("casflow.storage")
    assert kind in module.__all__
    assert getattr(module, kind).__name__ == kind


@pytest.mark.parametrize("kind", ["GitHub", "GitLab", "Bitbucket", "CodeCommit", "Git"])
def test_nothing_is_added_but_the_path_of_a_script(kind):
    storage = make(kind)
    storage.add_flow(Flow("one"))
    assert storage.flows == {"one": "f.py"}
    assert storage.stored_as_script


@pytest.mark.parametrize("kind", ["S3", "GCS", "Azure"])
def test_a_key_is_slug_and_timestamp(kind):
    storage = make(kind)
    location = storage.add_flow(Flow("My Flow ❌"))
    assert location.startswith("my-flow/20")
    assert storage.flows == {"My Flow ❌": location}


@pytest.mark.parametrize("kind", ["S3", "GCS", "Azure"])
def test_a_fixed_key_is_the_location(kind):
    option = "blob_name" if kind == "Azure" else "key"
    assert make(kind, **{option: "here"}).add_flow(Flow("one")) == "here"


@pytest.mark.parametrize("kind", ["S3", "GCS", "Azure"])
def test_a_script_needs_a_key_or_a_path(kind):
    storage = make(kind, stored_as_script=True)
    with pytest.raises(ValueError, match="must be provided"):
        storage.add_flow(Flow("one"))


@pytest.mark.parametrize("kind", ["S3", "GCS", "Azure"])
def test_only_a_script_under_a_key_is_followed(kind):
    option = "blob_name" if kind == "Azure" else "key"
    with pytest.raises(ConfigError, match="follow=True"):
        make(kind, follow=True)
    storage = make(kind, stored_as_script=True, follow=True, **{option: "f.py"})
    assert load(storage.serialize()).follow
    assert "follow" not in make(kind).serialize()


def test_the_base_cannot_be_made():
    with pytest.raises(TypeError):
        Storage()


@pytest.mark.parametrize("kind", ["S3", "GCS", "Azure", "Local"])
def test_to_build_a_script_without_one_is_refused(kind):
    with pytest.raises(ValueError, match="must be provided"):
        make(kind, stored_as_script=True).build()


@pytest.mark.parametrize("setting", [True, False])
def test_whether_labels_are_added_by_default_is_a_setting(setting, monkeypatch):
    monkeypatch.setenv("CASFLOW_DEFAULT_LABELS", str(setting))
    assert Local().add_default_labels is setting
    assert Local(add_default_labels=not setting).add_default_labels is not setting


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "https://@github.com/o/r.git"),
        ({"git_token_secret_name": "T"}, "https://o:token@github.com/o/r.git"),
        (
            {"git_token_secret_name": "T", "git_token_username": "u"},
            "https://u:token@github.com/o/r.git",
        ),
        (
            {"git_token_secret_name": "T", "format_access_token": False},
            "https://token@github.com/o/r.git",
        ),
        ({"git_token_secret_name": "T", "repo_host": "h.x"}, "https://o:token@h.x/o/r.git"),
        ({"use_ssh": True}, "git@github.com:o/r.git"),
        ({"git_clone_url_secret_name": "U"}, "https://whole.x/r.git"),
    ],
)
def test_the_address_of_a_clone_is_the_originals(options, url):
    with given({"T": "token", "U": "https://whole.x/r.git"}):
        assert Git("f.py", "o/r", **options).git_clone_url == url


def test_a_token_of_git_that_was_named_must_be_there():
    with pytest.raises(MissingSecretError, match="MISSING"):
        _ = Git("f.py", "o/r", git_token_secret_name="MISSING").git_token_secret


def test_the_default_storage_is_local_and_can_be_set(monkeypatch):
    assert default_class() is Local
    monkeypatch.setenv("CASFLOW_DEFAULT_STORAGE", "casflow.storage.Docker")
    assert default_class() is Docker


def test_a_default_storage_that_there_is_not_warns(monkeypatch):
    monkeypatch.setenv("CASFLOW_DEFAULT_STORAGE", "FOOBAR")
    with pytest.warns(UserWarning, match="FOOBAR"):
        assert default_class() is Local


# ---- constructors --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "attribute", "value"),
    [
        ("S3", "key", None),
        ("S3", "client_options", {}),
        ("S3", "upload_options", {}),
        ("S3", "stored_as_script", False),
        ("GCS", "project", None),
        ("GCS", "key", None),
        ("Azure", "blob_name", None),
        ("Azure", "overwrite", False),
        ("Azure", "connection_string_secret", None),
        ("GitHub", "ref", None),
        ("GitHub", "base_url", None),
        ("GitHub", "access_token_secret", None),
        ("GitLab", "host", None),
        ("GitLab", "ref", None),
        ("Bitbucket", "workspace", None),
        ("Bitbucket", "host", None),
        ("CodeCommit", "commit", "main"),
        ("Git", "repo_host", "github.com"),
        ("Git", "clone_depth", 1),
        ("Git", "use_ssh", False),
        ("Git", "format_access_token", True),
        ("Git", "flow_name", None),
        ("Docker", "local_image", False),
        ("Docker", "ignore_healthchecks", False),
        ("Docker", "build_kwargs", {}),
        ("Docker", "files", {}),
        ("Docker", "stored_as_script", False),
        ("Module", "module", "a.b"),
        ("Webhook", "stored_as_script", False),
        ("Webhook", "build_request_http_method", "POST"),
        ("Local", "path", None),
        ("Local", "secrets", []),
    ],
)
def test_what_is_left_out_has_the_originals_default(kind, attribute, value):
    assert getattr(make(kind), attribute) == value


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Git("f.py"), "Either `repo` or `git_clone_url_secret_name` must be provided"),
        (lambda: Git("f.py", "o/r", branch_name="b", tag="t"), "Only one of"),
        (lambda: Git("f.py", "o/r", tag="t", commit="0" * 40), "Only one of"),
        (lambda: Docker(base_image="a", dockerfile="b"), "Only one of"),
        (lambda: Docker(files={"relative": "/x"}), "must be absolute"),
        (lambda: Docker().name, "missing required fields image_name and image_tag"),
        (lambda: Webhook(**{**REQUESTS, "build_request_http_method": "HEAD"}), "'HEAD'"),
        (lambda: Webhook(**{**REQUESTS, "get_flow_request_http_method": "x"}), "'x'"),
        (lambda: Flow(None), "name"),
        (lambda: Flow(""), "name"),
    ],
)
def test_what_cannot_be_is_a_value_error_with_the_originals_words(wrong, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        wrong()


@pytest.mark.parametrize("build", ["GET", "PATCH", "POST", "PUT"])
@pytest.mark.parametrize("get", ["GET", "PATCH", "POST", "PUT"])
def test_a_webhook_takes_four_verbs_both_ways(build, get):
    verbs = {"build_request_http_method": build, "get_flow_request_http_method": get}
    storage = Webhook(**{**REQUESTS, **verbs})
    assert (storage.build_request_http_method, storage.get_flow_request_http_method) == (build, get)


def test_a_webhooks_data_is_warned_of_and_its_templates_stay():
    requests = {**REQUESTS, "build_request_kwargs": {"url": "http://x/${A}", "data": b"x"}}
    with pytest.warns(RuntimeWarning, match="flow content and should not be set directly"):
        storage = Webhook(**requests)
    assert storage.build_request_kwargs == {"url": "http://x/${A}"}


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ({"use_ssh": True, "git_token_secret_name": "T"}, "SSH will be used to clone"),
        ({"git_clone_url_secret_name": "U"}, "will be used to clone the repository, ignoring"),
    ],
)
def test_what_a_git_storage_does_not_use_is_said(options, warning, caplog):
    Git("f.py", "o/r", **options)
    assert warning in caplog.text


@pytest.mark.parametrize(
    ("make_docker", "name"),
    [
        (lambda: Docker(registry_url="r.io", image_name="n", image_tag="t"), "r.io/n:t"),
        (lambda: Docker(image_name="n", image_tag="t"), "n:t"),
    ],
)
def test_an_image_is_named_by_registry_name_and_tag(make_docker, name):
    assert make_docker().name == name


def test_a_docker_storage_takes_a_version_of_prefect_and_an_engines_address(monkeypatch):
    storage = Docker(prefect_version="1.4.1", base_url="tcp://x:1", python_dependencies=["pandas"])
    assert "prefect==1.4.1" in storage.python_dependencies
    assert storage.base_url == "tcp://x:1"
    monkeypatch.setenv("DOCKER_HOST", "unix:///y.sock")
    assert Docker().base_url == "unix:///y.sock"


def test_the_list_of_dependencies_that_was_given_stays_as_it_was():
    given_list = ["a"]
    Docker(python_dependencies=given_list, prefect_version="1.4.1")
    assert given_list == ["a"]


@pytest.mark.parametrize("target", ["/flow.py", "flow.py", "./flow.py"])
def test_a_relative_path_in_an_image_begins_at_its_root(target, tmp_path):
    source = str(tmp_path / "flow.py")
    storage = Docker(files={source: target}, path=target, stored_as_script=True)
    assert (storage.files, storage.path) == ({source: "/flow.py"}, "/flow.py")


@pytest.mark.parametrize("kind", ["Local", "S3", "GCS", "Azure", "Webhook", "Docker"])
def test_the_script_that_a_command_reads_is_the_one_that_is_stored(kind, tmp_path):
    options = {"path": "/in/image.py"} if kind == "Docker" else {}
    storage = make(kind, stored_as_script=True, **options)
    storage.suggest_script(tmp_path / "f.py")
    names = ("local_script_path", "flow_script_path", "path")
    found = [getattr(storage, name, None) for name in names]
    assert str(tmp_path / "f.py") in map(str, found)
    pickled = make(kind)
    pickled.suggest_script(tmp_path / "f.py")
    assert str(tmp_path / "f.py") not in [str(getattr(pickled, name, "")) for name in names]


@pytest.mark.parametrize("kind", ["S3", "GCS", "Azure"])
def test_a_script_under_a_key_of_the_users_is_left_there(kind, tmp_path):
    option = "blob_name" if kind == "Azure" else "key"
    storage = make(kind, stored_as_script=True, **{option: "mine.py"})
    storage.suggest_script(tmp_path / "f.py")
    assert storage.local_script_path is None


def test_the_variables_of_an_image_may_be_given():
    assert Docker(env_vars={"A": "1"}).env_vars["A"] == "1"


@pytest.mark.parametrize("folder", ["/opt/x", "/usr/x"])
def test_the_folder_in_the_image_may_be_named_as_in_the_original(folder):
    storage = Docker(prefect_directory=folder)
    assert storage.add_flow(Flow("a b")).startswith(f"{folder}/flows/a-b")


def test_azures_connection_string_is_looked_up_and_never_in_the_form(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "usual")
    assert Azure("c").connection_string == "usual"
    with given({"NAMED": "named"}):
        assert Azure("c", connection_string_secret="NAMED").connection_string == "named"
    passed = Azure("c", connection_string="passed")
    assert passed.connection_string == "passed"
    assert "passed" not in json.dumps(passed.serialize())


# ---- Local ---------------------------------------------------------------------------------


def test_a_local_storage_is_below_the_home(home):
    assert Local().directory == str(home.path / "flows")


def test_a_folder_is_made_absolute_unless_it_is_not_to_be_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Local(".").directory == str(tmp_path)
    assert Local("C:\\flows", validate=False).directory == "C:\\flows"
    assert Local("here", validate=False).result.dir == "here"
    assert not (tmp_path / "here").exists()


def test_a_flow_is_stored_when_it_is_added_and_read_back(tmp_path):
    storage, flow = Local(tmp_path), flow_of()
    location = storage.add_flow(flow)
    assert location.startswith(str(tmp_path / "f" / "20"))
    assert storage.get_flow("f") == flow
    assert storage.get_flow(flow_name="f") == flow
    assert storage.get_flow(location) == flow


def test_several_flows_are_in_one_storage(tmp_path):
    storage = Local(tmp_path)
    first, second = flow_of("one"), flow_of("two")
    storage.add_flow(first)
    storage.add_flow(second)
    assert storage.build() is storage
    assert (storage.get_flow("one"), storage.get_flow("two")) == (first, second)


def test_an_exact_path_holds_the_flow(tmp_path):
    storage = Local(path=tmp_path / "flow.pkl")
    assert storage.add_flow(flow_of()) == str(tmp_path / "flow.pkl")
    assert storage.get_flow("f").name == "f"


def test_a_script_is_stored_and_read_by_name(tmp_path):
    (tmp_path / "f.py").write_text(SCRIPT)
    storage = Local(path=tmp_path / "f.py", stored_as_script=True)
    storage.add_flow(Flow("p"))
    storage.add_flow(Flow("q"))
    assert [storage.get_flow(name).name for name in "pq"] == ["p", "q"]


def test_a_script_without_a_path_is_refused():
    with pytest.raises(ValueError, match=r"A `path` must be provided to show where flow `\.py`"):
        Local(stored_as_script=True).add_flow(Flow("p"))


def test_a_name_that_the_script_has_not_lists_those_that_it_has(tmp_path):
    (tmp_path / "f.py").write_text(SCRIPT)
    storage = Local(path=tmp_path / "f.py", stored_as_script=True)
    storage.add_flow(Flow("z"))
    with pytest.raises(ValueError, match=r"Flow 'z' not found in file.*Found flows: 'p', 'q'"):
        storage.get_flow("z")


@pytest.mark.parametrize(
    ("text", "message"), [("x = 1", "No flows found in file"), ("raise OSError", "OSError")]
)
def test_a_script_without_flows_says_so(tmp_path, text, message):
    (tmp_path / "f.py").write_text(text)
    storage = Local(path=tmp_path / "f.py", stored_as_script=True)
    storage.add_flow(Flow("z"))
    with pytest.raises(casflow.errors.CasflowError, match=message):
        storage.get_flow("z")


# ---- flows ---------------------------------------------------------------------------------


def test_flows_of_one_content_are_equal():
    assert flow_of() == flow_of()
    assert hash(flow_of()) == hash(flow_of())
    assert flow_of() != flow_of("other")
    assert flow_of() != Flow("f")
    assert flow_of() != "f"


def test_the_hash_of_a_flow_is_its_digest_and_the_same_once_it_is_built():
    flow = flow_of()
    before = flow.serialized_hash()
    assert before == casflow.digest(flow) == flow_of().serialized_hash(build=True)
    assert flow.register().digest == before == flow.serialized_hash()


def test_a_registration_takes_the_originals_arguments():
    flow = flow_of()
    first = flow.register(
        *("project", True, ["a"], False, "group", True),
        idempotency_key=flow.serialized_hash(),
    )
    assert (first.project, first.version, first.is_new) == ("project", 1, True)
    assert not flow.register("project", idempotency_key=flow.serialized_hash()).is_new


def test_a_flow_cannot_be_registered_while_it_is_built():
    with Flow("x") as flow, pytest.raises(ValueError, match="register"):
        flow.register()


@pytest.mark.parametrize("verb", ["run", "register"])
def test_code_that_is_only_loaded_neither_runs_nor_registers(verb):
    with loading_flow():
        assert getattr(flow_of(), verb)() is None


@pytest.mark.parametrize("value", [None, False])
def test_a_run_is_of_one_moment(value):
    assert flow_of().run(run_on_schedule=value).is_successful()
    with pytest.raises(ConfigError, match="from-prefect"):
        flow_of().run(run_on_schedule=True)


def test_a_flow_without_a_storage_gets_the_default_one_with_its_options(tmp_path):
    assert flow_of().register(directory=str(tmp_path)).location.startswith(str(tmp_path))


# ---- secrets -------------------------------------------------------------------------------


def test_a_secret_is_not_read_while_a_flow_is_built(monkeypatch):
    monkeypatch.setenv("TOKEN", "x")
    with Flow("x"), pytest.raises(ValueError, match="while a flow is built"):
        Secret("TOKEN").get()


def test_a_missing_secret_is_a_value_error_with_the_originals_words():
    with pytest.raises(ValueError, match='Local Secret "NOPE" was not found'):
        Secret("NOPE").get()


@pytest.mark.parametrize(
    ("text", "value"), [("42", 42), ("null", None), ('{"a": 1}', {"a": 1}), ("plain", "plain")]
)
def test_a_secret_that_is_json_is_decoded(monkeypatch, text, value):
    monkeypatch.setenv("TOKEN", text)
    assert Secret("TOKEN").get() == value


@pytest.mark.parametrize("kind", ["GitHub", "GitLab", "Bitbucket"])
def test_a_token_that_was_named_must_be_there(kind):
    storage = make(kind, access_token_secret="MISSING")
    with pytest.raises(MissingSecretError, match="MISSING"):
        storage.credential()


# ---- results -------------------------------------------------------------------------------

RESULTS = {
    "LocalResult": lambda **options: LocalResult("here", **options),
    "S3Result": lambda **options: S3Result("bucket", **options),
    "GCSResult": lambda **options: GCSResult("bucket", **options),
    "AzureResult": lambda **options: AzureResult("container", **options),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_a_result_takes_value_location_and_serializer(kind):
    result = RESULTS[kind](value=5, location="{x}.txt", serializer=JSONSerializer())
    assert (result.value, result.location) == (5, "{x}.txt")
    assert RESULTS[kind]().value is None
    assert isinstance(RESULTS[kind]().serializer, PickleSerializer)


@pytest.mark.parametrize("kind", RESULTS)
def test_a_result_is_formatted_by_template_or_function(kind):
    assert RESULTS[kind](location="{x}.txt").format(x=4).location.endswith("4.txt")
    function = RESULTS[kind](location=lambda **facts: f"{facts['x']}.py")
    assert function.format(x=4).location.endswith("4.py")


@pytest.mark.parametrize("kind", RESULTS)
def test_a_result_can_be_pickled(kind):
    assert type(pickle.loads(cloudpickle.dumps(RESULTS[kind]()))).__name__ == kind


@pytest.mark.parametrize(
    "name",
    [
        *("date", "today", "yesterday", "tomorrow"),
        *("today_nodash", "yesterday_nodash", "tomorrow_nodash"),
    ],
)
def test_templates_name_the_days(name):
    assert LocalResult("here", location=f"{{{name}}}").format().location


def test_the_days_are_those_of_the_moment():
    from datetime import UTC, datetime

    moment = datetime(2026, 3, 1, tzinfo=UTC)
    location = LocalResult("here", location="{yesterday}/{today_nodash}/{tomorrow}")
    assert location.format(date=moment).location == "2026-02-28/20260301/2026-03-02"


@pytest.mark.parametrize(
    "name", ["flow_name", "task_name", "task_full_name", "task_slug", "parameters[n]", "n"]
)
def test_templates_of_a_run_name_what_runs(tmp_path, name):
    with Flow("f", result=LocalResult(tmp_path, location=f"x-{{{name}}}")) as flow:
        double(Parameter("n", default=3))
    assert flow.run().is_successful()
    assert list(tmp_path.glob("x-*"))


@pytest.mark.parametrize("value", [42, "text", None, int, {"a": [1]}])
def test_a_local_result_is_written_and_read(tmp_path, value):
    result = LocalResult(tmp_path, location="a/b/{x}.bin")
    assert result.exists("a/b/1.bin") is False
    written = result.write(value, x=1)
    assert written.location.endswith("a/b/1.bin")
    assert written.value == value
    assert result.read(written.location).value == value
    stranger = pickle.loads(cloudpickle.dumps(result))
    assert stranger.read(written.location, digest=written.digest).value == value
    with pytest.raises(ConfigError, match="only with its digest"):
        stranger.read(written.location)
    assert result.exists("a/b/1.bin")
    assert result.exists(str(tmp_path / "a/b/1.bin"))
    assert result.exists("a/b/{x}.bin", x=1)


def test_a_local_result_is_below_the_home_and_leaves_the_flows_alone(home):
    assert LocalResult().dir == str(home.path / "results")
    assert LocalResult(home.path).dir == str(home.path / "results")


def test_what_is_not_there_is_not_found(tmp_path):
    with pytest.raises(NotFoundError):
        LocalResult(tmp_path).read("nothing")


def test_the_base_of_results_cannot_be_made():
    with pytest.raises(TypeError):
        Result()


@pytest.mark.parametrize("value", [1, "x", None, [1], {"a": None}])
def test_json_is_what_other_programs_read(value):
    data = JSONSerializer().serialize(value)
    assert json.loads(data) == value
    assert JSONSerializer().deserialize(data, where="here") == value


# ---- words that there are not --------------------------------------------------------------


@pytest.mark.parametrize("word", ["map", "set_upstream", "set_downstream", "bind"])
def test_a_task_has_not_all_methods_and_says_what_to_do(word):
    with Flow("x"):
        call = double(1)
    with pytest.raises(AttributeError, match=rf"no '{word}'.*from-prefect"):
        getattr(call, word)
    assert not hasattr(call, word)


@pytest.mark.parametrize("word", ["visualize", "run_agent", "add_edge", "save", "schedule"])
def test_a_flow_has_not_all_methods_and_says_what_to_do(word):
    with pytest.raises(AttributeError, match=rf"no '{word}'.*from-prefect"):
        getattr(Flow("x"), word)
    assert getattr(Flow("x"), word, None) is None


@pytest.mark.parametrize("word", ["log_stdout", "trigger", "cache_for", "nout", "timeout", "slug"])
def test_an_option_of_tasks_that_there_is_not_says_what_to_do(word):
    with pytest.raises(ConfigError, match=rf"no '{word}'.*from-prefect"):
        task(**{word: 1})(print)
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        task(nonsense=1)(print)
