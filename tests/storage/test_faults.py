"""Every request of a registration and of a read, broken in every way.

Whatever was broken, the store is whole afterwards in the eyes of `casflow verify --read-data`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from casflow import Flow, Parameter, task
from casflow.blobs.content import ContentStore
from casflow.blobs.fsspec import PIECE
from casflow.cache import Cache
from casflow.errors import (
    AccessError,
    CasflowError,
    ConflictError,
    IntegrityError,
    UnavailableError,
)
from casflow.gc import verify
from casflow.gc.reports import Amount

pytestmark = [pytest.mark.service, pytest.mark.slow]

MOST_REQUESTS = 30
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


def make(name, storage=None, data="x" * 3000):
    @task
    def twice(number):
        return 2 * number, data

    with Flow(name, storage=storage) as flow:
        twice(Parameter("number", default=21))
    return flow


@pytest.fixture
def store(proxied):
    """Return the store behind the proxy, connected."""
    cloud, _ = proxied
    store = cloud.storage().open_store()
    store.find("nothing")
    return store


def storage_on(cloud, store, key=None):
    options = {"overwrite": True} if cloud.name == "azure" and key else {}
    storage = cloud.storage(key, **options)
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


def broken(proxy, n, kind, action):
    """Do something whose n-th request is broken; return whether it succeeded, and was hit."""
    proxy.reset()
    proxy.fault(n, kind)
    done = outcome(kind, action)
    hit = any(each.fault for each in proxy.requests)
    proxy.reset()
    return done, hit


def assert_whole(store, least=0, *, read_data=False):
    """Check the store as `casflow verify` does, at the end of a test with `--read-data`.

    No blob is written over, so one that is damaged in between is still so at the end; only after
    a failure, what is tried again might hide what was left.
    """
    found = verify(store, share=float(read_data))
    assert found.findings == ()
    assert found.references >= least
    assert found.read == (found.blobs if read_data else Amount())


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_registration_completes_or_leaves_a_whole_store(proxied, store, kind):
    cloud, proxy = proxied
    for n in range(1, MOST_REQUESTS):
        flow = make(f"flow {n}", storage_on(cloud, store))
        done, hit = broken(proxy, n, kind, flow.register)
        if not done:
            assert_whole(store, least=n - 1)
        assert flow.register().is_new is not done
        assert flow.storage.get_flow(f"flow {n}").name == f"flow {n}"
        if not hit:
            break
    assert n > 3
    assert_whole(store, least=n, read_data=True)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_registration_without_change_completes_or_changes_nothing(proxied, store, kind):
    cloud, proxy = proxied
    first = make("flow", storage_on(cloud, store)).register()
    before = cloud.objects()
    for n in range(1, MOST_REQUESTS):
        flow = make("flow", storage_on(cloud, store))
        done, hit = broken(proxy, n, kind, flow.register)
        if not done:
            assert_whole(store, least=1)
        else:
            assert flow.storage.uploaded == {"flow": 0}
            assert flow.storage.flows["flow"] == first.location
            assert cloud.objects() == before
        if not hit:
            break
    # The latest reference, and the object and the marker of both blobs.
    assert n == 6
    assert_whole(store, least=1, read_data=True)
    assert make("flow", storage_on(cloud, store)).register() == replace(
        first, is_new=False, uploaded_bytes=0
    )


@pytest.mark.parametrize(("kind", "turn"), [(kind, n) for n, kind in enumerate(FAMILIES)])
@pytest.mark.parametrize("way", ["fixed key", "many pieces"])
def test_other_ways_to_register_leave_a_whole_store(proxied, store, way, kind, turn):
    """Each request is broken in two of the ten ways, which are others for each."""
    cloud, proxy = proxied
    data, key = ("x", "flows/mine") if way == "fixed key" else (b"x" * (2 * PIECE + 1), None)
    for n in range(1 + turn % 5, MOST_REQUESTS, 5):
        name = "mine" if key else f"flow {n}"  # a key is one flow's
        flow = make(name, storage_on(cloud, store, key), data + n * data[:1])
        done, hit = broken(proxy, n, kind, flow.register)
        if not done:
            assert_whole(store)
            assert flow.register()
        assert flow.storage.get_flow(name).name == name
        if not hit:
            break
    assert not hit
    assert_whole(store, least=1, read_data=True)


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
        done, hit = broken(proxy, n, kind, lambda read=read: read.get_flow("flow"))
        assert done or read.get_flow("flow").name == "flow"
        if not hit:
            break
    assert n > 2
    assert_whole(store, least=1, read_data=True)


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


def test_a_piece_that_is_sent_again_counts_once(proxied, store):
    _, proxy = proxied
    data = bytes(range(256)) * (2 * PIECE // 256) + b"!"
    for n in range(2, 5):
        done, _ = broken(proxy, n, "cut-after", lambda n=n: store.create(f"big/{n}", data))
        assert [each.size for each in store.list(f"big/{n}")] == [len(data)] * done


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


@pytest.mark.parametrize("is_known", [False, True])
def test_the_bytes_of_a_big_object_survive_a_cut(proxied, store, tmp_path, is_known):
    _, proxy = proxied
    (tmp_path / "big").write_bytes(bytes(range(256)) * 2**17)
    store.create("big", tmp_path / "big")
    size = (tmp_path / "big").stat().st_size if is_known else None
    for n in range(1, 7):
        proxy.reset()
        proxy.fault(n, "truncated")
        with (tmp_path / "copy").open("wb") as target:
            done = outcome("truncated", lambda target=target: store.copy_to("big", target, size))
        assert done or (n <= 2 and not is_known)  # a part that breaks off is continued
        assert not done or (tmp_path / "copy").read_bytes() == (tmp_path / "big").read_bytes()
