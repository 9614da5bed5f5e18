"""The flow layer: the same bytes for the same flows, and read back whole or not at all."""

from __future__ import annotations

import io
import stat
import subprocess
import sys
import tarfile

import pytest

from casflow.digests import digest_of
from casflow.errors import ConfigError, IntegrityError, NotFoundError
from casflow.storage.docker.layer import compress, extract, pack, path_of, sha256

FILES = {"/opt/casflow/flows/" + "a" * 64: b"abc", "/opt/casflow/flows/" + "b" * 64: b"d" * 5000}


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {each.name: each for each in archive}


def test_an_archive_has_files_and_their_folders_with_fixed_metadata():
    found = members(pack(FILES, {"/opt/flow": "/opt/casflow/flows/" + "a" * 64}))
    assert list(found) == sorted(found)
    assert {each.mtime for each in found.values()} == {0}
    assert {(each.uid, each.gid, each.uname) for each in found.values()} == {(0, 0, "root")}
    assert found["opt/casflow/flows"].isdir()
    assert found["opt/flow"].linkname == "/opt/casflow/flows/" + "a" * 64
    assert stat.S_IMODE(found["opt/casflow/flows/" + "b" * 64].mode) == 0o644


def test_another_process_makes_the_same_bytes_whatever_the_order():
    code = (
        "import sys; from casflow.storage.docker.layer import *; "
        "pairs = (('b', b'd' * 5000), ('a', b'abc'));"
        "files = {f'/opt/casflow/flows/{c * 64}': d for c, d in pairs};"
        "print(sha256(compress(pack(files))))"
    )
    environment = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PYTHONPATH": ":".join(sys.path)}
    other = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert other.strip() == sha256(compress(pack(FILES)))


@pytest.mark.parametrize("form", [bytes, compress])
def test_a_file_is_read_out_of_it(form):
    target = io.BytesIO()
    extract(io.BytesIO(form(pack(FILES))), "/opt/casflow/flows/" + "b" * 64, target, where="x")
    assert target.getvalue() == b"d" * 5000


def test_an_empty_file_and_a_long_folder_are_kept():
    folder = "/" + "/".join(["f" * 40] * 3)
    files = {path_of(folder, digest_of(b"")): b""}
    assert [name for name, each in members(pack(files)).items() if each.isfile()] == [
        path_of(folder, digest_of(b"")).strip("/")
    ]


def test_a_path_that_no_header_holds_is_refused():
    with pytest.raises(ConfigError):
        pack({path_of("/" + "f" * 300, digest_of(b"")): b""})


def test_a_file_that_is_not_there_and_a_broken_archive_are_told_apart():
    with pytest.raises(NotFoundError):
        extract(io.BytesIO(compress(pack(FILES))), "/opt/none", io.BytesIO(), where="x")
    with pytest.raises(IntegrityError):
        extract(io.BytesIO(b"no archive"), "/opt/none", io.BytesIO(), where="x")


def _claiming(kind, size, name="x"):
    """Return the header of a member that says it has so many bytes."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "kind",
    [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK],
)
def test_a_header_that_would_fill_the_memory_is_damage(kind):
    class Endless(io.RawIOBase):
        read_so_far = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            start = Endless.read_so_far
            Endless.read_so_far += len(buffer)
            head = _claiming(kind, 4 << 30)[start : start + len(buffer)]
            buffer[:] = head + bytes(len(buffer) - len(head))
            return len(buffer)

    with pytest.raises(IntegrityError, match="cannot be read"):
        extract(Endless(), "/opt/none", io.BytesIO(), where="x")
    assert Endless.read_so_far < 1 << 20


def test_a_file_with_holes_is_damage():
    data = _claiming(tarfile.GNUTYPE_SPARSE, 1 << 30) + bytes(10_000)
    with pytest.raises(IntegrityError, match="cannot be read"):
        extract(io.BytesIO(data), "/opt/none", io.BytesIO(), where="x")
