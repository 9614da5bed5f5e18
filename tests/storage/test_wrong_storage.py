"""What is given as a storage or result is one, or is refused where it is given."""

from __future__ import annotations

import datetime as dt

import pytest

import casflow
from casflow import Flow
from casflow.errors import ConfigError, ConflictError, FlowNotInStorageError
from casflow.results import AzureResult, LocalResult, S3Result
from casflow.storage import GCS, S3, Azure, Bitbucket, GitLab, Local, load


class Foreign:
    """Another library's storage: it can add and get, too."""

    def __str__(self):
        return "foreign"

    def add_flow(self, flow): ...

    def get_flow(self, name): ...

    def serialize(self): ...


WRONG = [
    S3,
    Foreign(),
    Foreign,
    dt.timedelta(hours=1),
    "ftp://x",
    "s3://",
    "folder",
    1,
    {},
    [Local],
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_what_is_no_storage_is_refused_where_it_is_given(wrong):
    with pytest.raises(ConfigError):
        Flow("x", storage=wrong)
    with pytest.raises(ConfigError):
        Flow("x", wrong)
    flow = Flow("x")
    with pytest.raises(ConfigError):
        flow.storage = wrong
    assert flow.storage is None


@pytest.mark.parametrize("wrong", ["results/", LocalResult, Foreign(), 1, Local], ids=str)
def test_what_is_no_result_is_refused_where_it_is_given(wrong):
    with pytest.raises(ConfigError, match="result"):
        Flow("x", result=wrong)


def test_a_class_that_was_not_called_is_told_apart():
    with pytest.raises(ConfigError, match=r"class S3.*write storage=S3\(\.\.\.\)"):
        Flow("x", storage=S3)


@pytest.mark.parametrize(
    ("url", "kind", "root"),
    [("s3://b", S3, "b"), ("gs://b", GCS, "b"), ("az://c", Azure, "c")],
)
def test_a_url_is_the_storage_of_it(url, kind, root):
    storage = Flow("x", storage=url).storage
    assert type(storage) is kind
    assert root in (getattr(storage, "bucket", None), getattr(storage, "container", None))


def test_a_url_of_a_file_is_a_folder(tmp_path):
    flow = Flow("x", storage=(tmp_path / "here").as_uri())
    assert flow.storage.directory == str(tmp_path / "here")
    assert flow.register().location.startswith(str(tmp_path / "here"))


def test_another_librarys_flow_with_its_own_storage_is_not_put_into_a_folder(tmp_path):
    class Other:
        name = "theirs"
        storage = Foreign()

    with pytest.raises(ConfigError, match=r"Foreign.*register\(flow, storage="):
        casflow.register(Other())


def test_a_fixed_key_gives_no_other_flow(tmp_path):
    here = tmp_path / "one"
    first = Local(path=here)
    first.add_flow(Flow("A"))
    second = Local(path=here)
    with pytest.raises(ConflictError, match="holds the flow 'A'"):
        second.add_flow(Flow("B"))
    reader = load({"type": "Local", "path": str(here), "flows": {"B": str(here)}})
    with pytest.raises(FlowNotInStorageError, match="'A', not 'B'"):
        reader.get_flow("B")
    assert first.get_flow("A").name == "A"


def test_what_every_upload_needs_is_in_the_form():
    options = {"ServerSideEncryption": "aws:kms", "Tagging": "a=b"}
    storage = load(S3("b", upload_options=options).serialize())
    assert storage.upload_options == options
    assert storage.result.upload_options == options


def test_a_key_of_the_customers_is_refused():
    with pytest.raises(ConfigError, match="SSECustomerKey"):
        S3("b", upload_options={"SSECustomerKey": "x" * 32})


SENTINEL = "AccountName=a;AccountKey=c2VudGluZWw="


@pytest.mark.parametrize(
    "make",
    [
        lambda: GitLab("o/r", "https://my.host", "f.py"),
        lambda: GitLab("o/r", "f.py"),
        lambda: Bitbucket("P", "r", "w", "https://my.host", "f.py"),
        lambda: Azure("c", SENTINEL),
        lambda: S3Result("b", "{flow_name}"),
    ],
)
def test_an_argument_whose_place_is_ambiguous_is_asked_for_by_name(make):
    with pytest.raises(ConfigError, match="by name") as caught:
        make()
    assert "c2VudGluZWw" not in str(caught.value)


def test_results_take_their_arguments_in_the_originals_order():
    azure = AzureResult("c", SENTINEL)
    assert azure.connection_string == SENTINEL
    assert "AccountKey" not in str(azure.location)
    assert S3Result("b", {"region_name": "r"}).boto3_kwargs == {"region_name": "r"}
    assert LocalResult("here", False).dir == "here"
