"""Signatures and gc: they go with what they sign, keep nothing alive, and live as long as it."""

from __future__ import annotations

import casflow
from casflow.blobs import layout
from casflow.gc import Collector, Limits, Policy, verify
from casflow.gc.roots import undelete
from tests.gc.aging import Later

NOW = Limits(grace=0, exclusive=True)


def signed_keys(store):
    return {info.key for info in store._content.store.list(layout.SIGNATURES)}


def collect(store, policy=None, limits=NOW):
    return Collector(store._content.store, policy=policy, limits=limits).run()


def test_signatures_go_with_their_version_and_keep_nothing_alive(store, project, keys):
    for text in ("one", "two"):
        store.push(project(text), "etl", sign=str(keys["anna"]))
    assert len(signed_keys(store)) == 2
    collect(store)
    assert len(signed_keys(store)) == 2
    collect(store, Policy(last=1))
    assert len(signed_keys(store)) == 2  # the trash may bring it back
    trash = [info.key for info in store._content.store.list(layout.TRASH)]
    store._content.store.delete_many(trash)
    collect(store)
    (left,) = signed_keys(store)
    assert layout.parse_signature(left)[0] == store.resolve("etl").digest
    assert verify(store._content.store).clean


def test_a_signature_whose_blob_went_before_goes_with_the_next_run(store, project, keys):
    version = store.push(project(), "etl", sign=str(keys["anna"]))
    store.push(project("two"), "etl")
    (key,) = signed_keys(store)
    data = store._content.store.get(key)
    store._content.store.delete(version.key)
    limits = Limits(grace=86400.0)
    collect(store, limits=limits)
    store._content.store.delete(layout.blob(version.digest, 0))  # as a run that died left it
    collect(store, limits=limits)
    assert signed_keys(store) == {key}  # its marker is younger than the grace
    later = Later(store._content.store, 90000)
    Collector(later, limits=limits, now=later.now).run()
    assert signed_keys(store) == set()
    store._content.store.delete(layout.marker(version.digest, 0))
    store._content.store.create(key, data)  # one that came late, without a marker
    collect(store, limits=limits)
    assert signed_keys(store) == {key}  # a blob may still be written under that name
    collect(store)
    assert signed_keys(store) == set()  # unless nobody writes


def test_a_tag_and_a_lease_keep_the_signature_of_what_retention_took(store, project, keys):
    digest = store.push(project("one"), "etl", sign=str(keys["anna"])).digest
    store.tag("etl", "prod")
    store.push(project("two"), "etl")
    collect(store, Policy(last=1))
    store._content.store.delete_many([i.key for i in store._content.store.list(layout.TRASH)])
    collect(store)
    assert [layout.parse_signature(key)[0] for key in signed_keys(store)] == [digest]
    assert [str(each) for each in store.signers("etl@prod")] == []
    assert len(store.signers(f"etl@{digest}")) == 1


def test_signatures_follow_to_another_incarnation(store, project, keys, trusting, policy):
    trusting("anna")
    version = store.push(project(), "etl", sign=str(keys["anna"]))
    store._content.store.create_empty([layout.marker(version.digest, 0)])
    policy("etl")
    store.lease(version)
    (info,) = store._content.store.list(layout.leases(version.digest))
    assert store._content.get_reference(info.key).blob.incarnation == 1
    assert {layout.parse_signature(key) for key in signed_keys(store)} == {
        (version.digest, 0),
        (version.digest, 1),
    }


def test_what_comes_back_from_the_trash_is_signed_still(store, project, keys, trusting, policy):
    trusting("anna")
    first = store.push(project("one"), "etl", sign=str(keys["anna"]))
    store.push(project("two"), "etl", sign=str(keys["anna"]))
    collect(store, Policy(last=1))
    undelete(store._content, first.key)
    policy("etl")
    assert store.resolve(f"etl@{first.digest}").digest == first.digest


def test_a_copy_takes_its_signatures_along(store, project, keys, trusting, policy, tmp_path):
    trusting("anna", "bob")
    store.push(project(), "etl", sign=str(keys["anna"]))
    other = casflow.Store(tmp_path / "other")
    policy("etl")
    store.copy("etl", other)
    assert other.resolve("etl").version == 1
    store.sign("etl", str(keys["bob"]))
    policy("etl", threshold=2)
    store.copy("etl", other)  # unchanged, but for who signed it
    assert other.resolve("etl").version == 1
