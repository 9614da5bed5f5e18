"""Signatures in every kind of store."""

from __future__ import annotations

import pytest

from casflow.blobs import layout
from casflow.errors import SignatureError
from casflow.gc import Collector, Limits, Policy
from tests.store.conftest import write


def test_what_is_signed_in_one_store_is_signed_in_its_copy(
    open_store,
    tmp_path,
    keys,
    trusting,
    policy,
):
    store, other = open_store(), open_store("other", "elsewhere")
    trusting("anna")
    folder = write(tmp_path / "etl", {"main.py": "one"})
    key = str(keys["anna"])
    first = store.push(folder, "etl", sign=key)
    store.tag(first, "prod", sign=key)
    write(folder, {"main.py": "two"})
    store.push(folder, "etl")
    policy("etl")
    assert store.read_file("etl@prod", "main.py") == b"one"
    with pytest.raises(SignatureError, match="it is not signed: etl; sign it"):
        store.resolve("etl")
    store.copy("etl@1", other)
    assert other.resolve("etl").digest == first.digest
    assert [str(each) for each in other.signers("etl")] == ["anna@example.com"]
    store.sign("etl@2", key)
    assert store.resolve("etl").version == 2
    limits = Limits(grace=0, trash=0, exclusive=True)
    store.gc()
    Collector(store._content.store, policy=Policy(last=1), limits=limits).run()
    assert store.resolve("etl@prod").digest == first.digest
    assert len(list(store._content.store.list(layout.SIGNATURES))) == 3
