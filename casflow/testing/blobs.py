"""The contract of `BlobStore`, as tests.

Owns what a backend must do to hold flows without losing one. Invariant: the tests know a store by
its interface only; what another client does meanwhile comes in through `Raw`, behind its back.

    class TestMyStore(BlobStoreTests):
        @pytest.fixture
        def store(self): ...   # a new, empty store

        @pytest.fixture
        def raw(self): ...     # another client of the same place
"""

from __future__ import annotations

import io
import os
import pickle
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import pytest

from casflow.errors import CasflowError, ConfigError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from casflow.blobs.base import BlobStore

BAD_KEYS = ("", "/a", "a/", "a//b", "../a", "a/./b", "a\\b", "a\nb")
ODD_KEYS = ("a b", "ü/流程", "100%", "%41", "a+b", "a&b=c", "x#y", "q?r", "~t", "A/a", "a/A", "a.b")
WRITERS = 8
BIG = 33 * 2**20 + 7  # bytes; several pieces of a transfer in pieces, the last one short
LARGEST_WRITE = 16 * 2**20  # bytes; constant memory means that nothing comes in one piece


class Raw(Protocol):
    """Another client of the place that a store is in; it goes around the store."""

    def write(self, key: str, data: bytes) -> None:
        """Write an object, over what may be there."""

    def read(self, key: str) -> bytes:
        """Return an object's bytes."""

    def remove(self, key: str) -> None:
        """Remove an object."""


class BlobStoreTests:
    """What every blob store must do."""

    @pytest.fixture
    def store(self) -> BlobStore:
        """Return a new, empty store."""
        raise NotImplementedError("say where a new, empty store comes from")

    @pytest.fixture
    def raw(self, store: BlobStore) -> Raw:
        """Return another client of the same place."""
        raise NotImplementedError("say how to reach the same place without the store")

    # ---- reading and writing ---------------------------------------------------------------

    @pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 999], ids=len)
    def test_what_was_created_is_read(self, store: BlobStore, raw: Raw, data: bytes) -> None:
        """Bytes come back by each way of reading, none of them changed."""
        store.create("folder/name", data)
        assert store.get("folder/name") == data
        assert copied(store, "folder/name") == data
        assert raw.read("folder/name") == data

    @pytest.mark.parametrize(
        ("start", "size"),
        [(0, 3), (2, 4), (5, 5), (8, 9), (0, 10), (0, 99), (10, 1), (30, 2), (4, 0)],
    )
    def test_a_range_is_read(self, store: BlobStore, start: int, size: int) -> None:
        """A range has the bytes that are in it, and ends where the object does."""
        store.create("folder/name", b"0123456789")
        assert store.get_range("folder/name", start, size) == b"0123456789"[start : start + size]
        with pytest.raises(NotFoundError):
            store.get_range("folder/other", start, size or 1)

    @pytest.mark.parametrize("size", [None, 5, BIG])
    def test_what_is_absent_is_not_found(self, store: BlobStore, size: int | None) -> None:
        """An absent object is an error to read, and None to look for."""
        target = io.BytesIO()
        assert store.find("folder/name") is None
        with pytest.raises(NotFoundError, match="folder/name"):
            store.get("folder/name")
        with pytest.raises(NotFoundError, match="folder/name"):
            store.copy_to("folder/name", target, size)
        assert target.getvalue() == b""

    def test_a_folder_is_not_an_object(self, store: BlobStore) -> None:
        """The part of a key before a slash names nothing."""
        store.create("folder/name", b"x")
        assert store.find("folder") is None
        with pytest.raises(CasflowError):
            store.get("folder")

    def test_put_writes_over(self, store: BlobStore) -> None:
        """The last bytes put are what is read."""
        store.put("name", b"first, and longer")
        store.put("name", b"second")
        assert store.get("name") == b"second"

    def test_delete_removes_and_may_be_repeated(self, store: BlobStore) -> None:
        """Deleting what is not there is no error."""
        store.create("folder/name", b"x")
        store.delete("folder/name")
        store.delete("folder/name")
        assert store.find("folder/name") is None
        assert list(store.list()) == []

    def test_what_was_deleted_can_be_created(self, store: BlobStore) -> None:
        """A key is free again once its object is gone."""
        store.create("name", b"first")
        store.delete("name")
        store.create("name", b"second")
        assert store.get("name") == b"second"

    def test_size_and_time_are_told(self, store: BlobStore) -> None:
        """The size is exact; the time is the store's, and close to ours on a test server."""
        store.create("name", b"12345")
        found = store.find("name")
        assert found is not None
        assert (found.key, found.size) == ("name", 5)
        assert abs(found.modified - time.time()) < 120

    @pytest.mark.parametrize("size", [None, BIG])
    def test_big_files_stream(self, store: BlobStore, tmp_path: Path, size: int | None) -> None:
        """A file goes up and comes down in pieces, unchanged, whether its size is known or not."""
        data = os.urandom(BIG)
        (tmp_path / "big").write_bytes(data)
        store.create("big", tmp_path / "big")
        target = Pieces()
        store.copy_to("big", target, size)
        assert target.getvalue() == data
        assert target.largest <= LARGEST_WRITE
        found = store.find("big")
        assert found is not None
        assert found.size == BIG

    @pytest.mark.parametrize("there", [0, 5, BIG - 1])
    def test_what_is_shorter_than_its_size_is_read_as_it_is(
        self, store: BlobStore, there: int
    ) -> None:
        """Whoever verifies an object that was cut short sees the bytes that are left."""
        data = os.urandom(there)
        store.create("short", data)
        target = io.BytesIO()
        store.copy_to("short", target, BIG)
        assert target.getvalue() == data

    def test_big_bytes_are_written_whole(self, store: BlobStore) -> None:
        """What fits in memory may be as big as a file."""
        data = os.urandom(BIG)
        store.create("created", data)
        store.put("put", data)
        assert store.get("created") == data
        assert store.get("put") == data

    # ---- one winner ------------------------------------------------------------------------

    @pytest.mark.parametrize("data", [b"first", b"second"])
    def test_create_fails_when_present(self, store: BlobStore, data: bytes) -> None:
        """Whatever the bytes, the second creation fails and the first stays."""
        store.create("name", b"first")
        with pytest.raises(ConflictError, match="name"):
            store.create("name", data)
        assert store.get("name") == b"first"

    def test_create_from_a_file_fails_when_present(self, store: BlobStore, tmp_path: Path) -> None:
        """The same holds for a file."""
        (tmp_path / "file").write_bytes(b"second")
        store.create("name", b"first")
        with pytest.raises(ConflictError):
            store.create("name", tmp_path / "file")
        assert store.get("name") == b"first"

    def test_an_object_of_another_client_is_not_overwritten(
        self, store: BlobStore, raw: Raw
    ) -> None:
        """Creation sees what appeared a moment ago, also when the store knew it as absent."""
        assert store.find("name") is None
        raw.write("name", b"theirs")
        with pytest.raises(ConflictError):
            store.create("name", b"ours")
        assert raw.read("name") == b"theirs"

    @pytest.mark.parametrize("size", [1, 100_000], ids=["small", "large"])
    def test_creation_has_one_winner(self, store: BlobStore, size: int) -> None:
        """Of several writers at once exactly one succeeds, and its bytes are the object's."""
        bodies = [bytes([65 + n]) * size for n in range(WRITERS)]
        for attempt in range(3):
            key = f"race/{attempt}"

            def won(body: bytes, key: str = key) -> bool:
                try:
                    store.create(key, body)
                except ConflictError:
                    return False
                return True

            with ThreadPoolExecutor(WRITERS) as pool:
                winners = [body for body, first in zip(bodies, pool.map(won, bodies)) if first]  # noqa: B905
            assert len(winners) == 1
            assert store.get(key) == winners[0]

    # ---- fresh answers ---------------------------------------------------------------------

    def test_a_write_of_another_client_is_seen(self, store: BlobStore, raw: Raw) -> None:
        """Nothing that was absent a moment ago is remembered as absent."""
        assert store.find("folder/name") is None
        assert list(store.list("folder/")) == []
        raw.write("folder/name", b"abc")
        found = store.find("folder/name")
        assert found is not None
        assert found.size == 3
        assert [each.key for each in store.list("folder/")] == ["folder/name"]
        assert store.get("folder/name") == b"abc"

    def test_a_change_by_another_client_is_seen(self, store: BlobStore, raw: Raw) -> None:
        """Neither bytes nor size are remembered."""
        store.create("name", b"ours")
        assert store.get("name") == b"ours"
        raw.write("name", b"their own")
        assert store.get("name") == b"their own"
        assert [each.size for each in store.list()] == [9]

    def test_a_removal_by_another_client_is_seen(self, store: BlobStore, raw: Raw) -> None:
        """Nothing that was there a moment ago is remembered as present."""
        store.create("folder/name", b"x")
        assert len(list(store.list("folder/"))) == 1
        raw.remove("folder/name")
        assert store.find("folder/name") is None
        assert list(store.list("folder/")) == []
        with pytest.raises(NotFoundError):
            store.get("folder/name")

    # ---- listings --------------------------------------------------------------------------

    def test_listings_are_sorted_and_whole(self, store: BlobStore) -> None:
        """Every object comes once, in the order of keys, with its size."""
        keys = [f"{letter}/{number:02}" for letter in "cab" for number in (2, 11, 1)]
        for key in keys:
            store.create(key, key.encode())
        listed = list(store.list())
        assert [each.key for each in listed] == sorted(keys)
        assert {each.size for each in listed} == {4}

    def test_a_listing_tells_other_bytes_by_another_version(self, store: BlobStore) -> None:
        """A version stays as long as the bytes do; a store that tells none says so."""
        store.put("a/key", b"one")
        (first,), (again,) = list(store.list()), list(store.list())
        store.put("a/key", b"two")
        (other,) = store.list()
        assert first == again
        assert (other.version != first.version) == bool(first.version)

    def test_a_prefix_is_any_start_of_a_key(self, store: BlobStore) -> None:
        """It may end inside a name, and matches nothing but starts."""
        for key in ("a", "ab/1", "ab/12", "ab/2", "abc", "b/ab"):
            store.create(key, b"")
        assert [each.key for each in store.list("ab/1")] == ["ab/1", "ab/12"]
        assert [each.key for each in store.list("ab")] == ["ab/1", "ab/12", "ab/2", "abc"]
        assert [each.key for each in store.list("ab/")] == ["ab/1", "ab/12", "ab/2"]
        assert list(store.list("zz/")) == []

    # ---- keys ------------------------------------------------------------------------------

    @pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
    def test_what_is_no_key_is_refused(self, store: BlobStore, key: str) -> None:
        """A key that would mean something else on another backend is refused by all."""
        for use in (store.get, store.find, store.delete):
            with pytest.raises(ConfigError):
                use(key)
        for write in (store.create, store.put):
            with pytest.raises(ConfigError):
                write(key, b"x")
        assert list(store.list()) == []

    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_odd_keys_are_kept_as_they_are(self, store: BlobStore, key: str) -> None:
        """Characters that mean something in an address mean nothing in a key."""
        store.create(key, key.encode())
        assert store.get(key) == key.encode()
        assert copied(store, key) == key.encode()
        assert store.find(key) is not None
        assert [each.key for each in store.list()] == [key]
        store.delete(key)
        assert store.find(key) is None

    # ---- processes and threads -------------------------------------------------------------

    def test_a_pickled_store_is_the_same_place(self, store: BlobStore) -> None:
        """A copy that went through a pickle reads and writes the same objects."""
        store.create("ours", b"1")
        copy: BlobStore = pickle.loads(pickle.dumps(store))
        assert copy.get("ours") == b"1"
        assert copy.url == store.url
        copy.create("theirs", b"2")
        assert store.get("theirs") == b"2"

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_store_that_was_used_works_in_a_forked_child(self, store: BlobStore) -> None:
        """A child does not wait for threads that only its parent has."""
        store.create("name", b"x")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os._exit(0 if reads(store, "name", b"x") else 1)
        assert exit_code(child) == 0
        assert store.get("name") == b"x"

    def test_threads_share_a_store(self, store: BlobStore) -> None:
        """Many threads write and read their own objects."""

        def write_and_read(number: int) -> bytes:
            store.create(f"many/{number}", b"%d" % number)
            return store.get(f"many/{number}")

        with ThreadPoolExecutor(WRITERS) as pool:
            assert list(pool.map(write_and_read, range(40))) == [b"%d" % n for n in range(40)]


class Pieces(io.BytesIO):
    """Takes what is written and remembers the largest piece."""

    largest = 0

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Take a piece."""
        self.largest = max(self.largest, len(data))
        return super().write(data)


def copied(store: BlobStore, key: str) -> bytes:
    """Return what `copy_to` writes."""
    target = io.BytesIO()
    store.copy_to(key, target)
    return target.getvalue()


def reads(store: BlobStore, key: str, data: bytes) -> bool:
    """Tell whether a key holds some bytes; any failure is a no."""
    try:
        return store.get(key) == data
    except Exception:  # noqa: BLE001 - the child has nobody to tell
        return False


def exit_code(child: int, patience: float = 30.0) -> int:
    """Return the exit code of a child process; end it when it does not end by itself."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, 9)
    os.waitpid(child, 0)
    raise TimeoutError(f"the child did not end within {patience} s")
