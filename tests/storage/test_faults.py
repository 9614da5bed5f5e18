"""Every request of a registration and of a read, broken in every way."""

from __future__ import annotations

import json

import pytest

from casflow import Flow, Parameter, task
from casflow.blobs.content import ContentStore
from casflow.cache import Cache
from casflow.digests import digest_of
from casflow.errors import (
    AccessError,
    CasflowError,
    ConflictError,
    IntegrityError,
    UnavailableError,
)

pytestmark = [pytest.mark.service, pytest.mark.slow]

MOST_REQUESTS = 20
FAMILIES = {
    "cut-before": UnavailableError,
    "cut-after": UnavailableError,
    "cut-upload": UnavailableError,
    "truncated": (UnavailableError, IntegrityError),
    "wrong-body": (UnavailableError, IntegrityError),
    "500": UnavailableError,
    "503": UnavailableError,
    "429": UnavailableError,
    "409": (UnavailableError, ConflictError),
    "403": AccessError,
}


def make(name):
    @task
    def twice(number):
        return 2 * number, "x" * 3000

    with Flow(name) as flow:
        twice(Parameter("number", default=21))
    return flow


@pytest.fixture
def store(proxied):
    """Return the store behind the proxy, connected."""
    cloud, _ = proxied
    store = cloud.storage().open_store()
    store.find("nothing")
    return store


def storage_on(cloud, store):
    storage = cloud.storage()
    storage._content = ContentStore(store)
    return storage


def outcome(kind, action):
    """Do something that may fail with the right family, and return whether it succeeded."""
    try:
        action()
    except CasflowError as error:
        failure = error
    else:
        return True
    assert isinstance(failure, FAMILIES[kind]), repr(failure)
    assert "\n" not in str(failure)
    return False


def assert_whole(cloud, folder):
    """Check that every reference in a folder can be read and names blobs that are right."""
    for key in cloud.objects(f"/{folder}/"):
        reference = json.loads(cloud.read(key))
        for blob in (reference, *reference["attachments"].values()):
            name = blob["digest"].partition(":")[2]
            data = cloud.read(f".casflow/blobs/{name[:2]}/{name}-{blob['incarnation']}")
            assert digest_of(data) == blob["digest"]


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_registration_completes_or_leaves_a_whole_store(proxied, store, kind):
    cloud, proxy = proxied
    for n in range(1, MOST_REQUESTS):
        storage = storage_on(cloud, store)
        storage.add_flow(make(f"flow {n}"))
        proxy.reset()
        proxy.fault(n, kind)
        done = outcome(kind, storage.build)
        hit = any(each.fault for each in proxy.requests)
        proxy.reset()
        assert_whole(cloud, f"flow-{n}")
        if not done:
            storage.build()
        assert storage.get_flow(f"flow {n}").name == f"flow {n}"
        if not hit:
            break
    assert n > 3


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_read_completes_or_fails_and_then_completes(proxied, store, kind, tmp_path):
    cloud, proxy = proxied
    written = storage_on(cloud, store)
    written.add_flow(make("flow"))
    written.build()
    for n in range(1, MOST_REQUESTS):
        read = storage_on(cloud, store)
        read.flows["flow"] = written.flows["flow"]
        read._cache = Cache(tmp_path / str(n), 10**9)
        proxy.reset()
        proxy.fault(n, kind)
        done = outcome(kind, lambda read=read: read.get_flow("flow"))
        hit = any(each.fault for each in proxy.requests)
        proxy.reset()
        assert done or read.get_flow("flow").name == "flow"
        if not hit:
            break
    assert n > 2


def test_a_lost_answer_does_not_make_a_writer_lose_its_own_object(proxied, store):
    cloud, proxy = proxied
    for kind in ("cut-after", "500"):
        proxy.reset()
        proxy.fault(1, kind)
        store.create(f"ours/{kind}", b"ours")
        assert cloud.read(f"ours/{kind}") == b"ours"
        with pytest.raises(ConflictError):
            store.create(f"ours/{kind}", b"ours")


def test_a_lost_answer_does_not_win_somebody_elses_object(proxied, store):
    cloud, proxy = proxied
    cloud.write("theirs", b"same")
    proxy.reset()
    proxy.fault(1, "cut-after")
    with pytest.raises(ConflictError):
        store.create("theirs", b"same")


def test_writers_that_meet_try_again(proxied, store):
    _, proxy = proxied
    proxy.reset()
    for n in (1, 2):
        proxy.fault(n, "409")
    store.create("met", b"x")
    assert store.get("met") == b"x"


def test_a_refusal_is_never_taken_for_absence(proxied, store):
    _, proxy = proxied
    for ask in (store.find, store.get, store.delete):
        proxy.reset()
        proxy.fault(None, "403")
        with pytest.raises(AccessError, match="refused"):
            ask("absent")
    with pytest.raises(AccessError):
        list(store.list())


def test_the_bytes_of_a_big_object_survive_a_cut(proxied, store, tmp_path):
    _, proxy = proxied
    (tmp_path / "big").write_bytes(bytes(range(256)) * 2**17)
    store.create("big", tmp_path / "big")
    for n in range(1, 7):
        proxy.reset()
        proxy.fault(n, "truncated")
        with (tmp_path / "copy").open("wb") as target:
            if outcome("truncated", lambda target=target: store.copy_to("big", target)):
                assert (tmp_path / "copy").read_bytes() == (tmp_path / "big").read_bytes()
