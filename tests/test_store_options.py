"""Options of single stores, by the settings: which there are, and whom they reach."""

from __future__ import annotations

import json

import pytest

from casflow import config, store_options
from casflow.blobs import azure
from casflow.blobs.format import claim_format
from casflow.blobs.fsspec import FsspecBlobStore
from casflow.blobs.gcs import GCSBlobStore
from casflow.blobs.s3 import S3BlobStore
from casflow.errors import ConfigError
from casflow.storage import S3
from casflow.storage.urls import open_url

WRONG = {
    "no JSON": "{",
    "deep": "[" * 100_000,
    "a list": "[1]",
    "a list of stores": '{"s3://b": [1]}',
    "another scheme": '{"ftp://b": {}}',
    "no bucket": '{"s3://": {}}',
    "an unknown option": '{"s3://b": {"exclusive_writers": true}}',
    "an option of another kind": '{"gs://b": {"exclusive_writer": true}}',
    "a credential": '{"s3://b": {"aws_secret_access_key": "x"}}',
    "text for a truth": '{"s3://b": {"exclusive_writer": "yes"}}',
    "text for a table": '{"s3://b": {"upload_options": "x"}}',
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_one_line(home, monkeypatch, name):
    monkeypatch.setenv("CASFLOW_STORES", WRONG[name])
    with pytest.raises(ConfigError) as caught:
        config.load()
    assert "CASFLOW_STORES" in str(caught.value)
    assert "\n" not in str(caught.value)


def settings(home, monkeypatch, **stores):
    monkeypatch.setenv("CASFLOW_STORES", json.dumps(stores))


def test_the_longest_url_counts_and_only_whole_parts_of_it():
    given = {"s3://b": {"project": 1}, "s3://b/x/": {"project": 2}}
    assert store_options.find(given, "s3://b/y") == {"project": 1}
    assert store_options.find(given, "s3://b/x") == {"project": 2}
    assert store_options.find(given, "s3://b/x/z") == {"project": 2}
    assert store_options.find(given, "s3://bb") == {}


def test_the_file_says_it_as_tables(home):
    home.path.mkdir(mode=0o700)
    (home.path / "config.toml").write_text('[stores."s3://b"]\nexclusive_writer = true\n')
    assert config.load().options_of("s3://b/x") == {"exclusive_writer": True}
    assert home.json("config", "show")["stores"]["value"] == {"s3://b": {"exclusive_writer": True}}


def test_they_reach_each_kind_of_store_and_its_own_parameters_win(home, monkeypatch):
    settings(
        home,
        monkeypatch,
        **{
            "s3://b": {
                "exclusive_writer": True,
                "region_name": "there",
                "upload_options": {"ACL": "private", "RequestPayer": "requester"},
            },
            "gs://b": {"project": "billed", "requester_pays": True},
            "az://c": {"connection_string_secret": "NAMED"},
        },
    )
    monkeypatch.setenv("NAMED", "https://account.blob.core.windows.net")
    s3 = S3BlobStore("b/x", {"region_name": "here"}, {"ACL": "public-read"})
    assert s3._exclusive_writer
    assert s3._upload_options == {"ACL": "public-read", "RequestPayer": "requester"}
    options, always = s3._open.args
    assert options == {"region_name": "here"}
    assert always == {"RequestPayer": "requester"}
    assert S3("b").open_store()._open.args[0] == {"region_name": "there"}
    assert "there" not in json.dumps(S3("b").serialize())
    opening = GCSBlobStore("b")._open
    assert (opening.args, opening.keywords) == (("billed",), {"requester_pays": True})
    assert open_url("az://c").url == "https://account.blob.core.windows.net/c"
    assert azure.find_connection("c", "given", None) == "given"


class Twice(FsspecBlobStore):
    """A store that creates a key as often as it is asked to."""

    def create(self, key, data):
        self.put(key, data)


def test_a_store_that_is_there_already_is_tried_once_a_process(home):
    store = open_url("memory://there")
    claim_format(store)
    assert store.creates_once
    other = Twice(store._open, store._root, store.url)
    with pytest.raises(ConfigError, match="ignores conditional writes"):
        claim_format(other)
    again = open_url("memory://there")
    asked = []
    again.create = lambda *_: asked.append(1)
    again.creates_once = True
    claim_format(again)
    assert asked == []


def test_a_promise_holds_while_it_is_given(home):
    with store_options.exclusive_writer():
        assert S3BlobStore("b")._exclusive_writer
    assert not S3BlobStore("b")._exclusive_writer
