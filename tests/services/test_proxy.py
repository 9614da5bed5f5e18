"""The proxy is invisible until told to break something, and then breaks exactly that."""

from __future__ import annotations

import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.services.git_http import GitServer, git
from tests.services.proxy import Proxy
from tests.services.test_services import create_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.services.objects import ObjectServer
    from tests.services.oci import Registry

pytestmark = pytest.mark.service

BIG = bytes(range(256)) * 4096 * 3  # 3 MiB: several pieces


class FileHandler(SimpleHTTPRequestHandler):
    """Serves files, takes them by PUT, and says nothing."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        Path(self.translate_path(self.path)).write_bytes(data)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    handler = partial(FileHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    (tmp_path / "file").write_bytes(BIG)
    with Proxy(f"http://127.0.0.1:{server.server_port}") as proxy:
        yield proxy
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("kind", ["s3", "gcs", "azure"])
def test_object_stores_work_through_it(
    kind: str, request: pytest.FixtureRequest, proxy_to: Callable[..., Proxy]
) -> None:
    server: ObjectServer = request.getfixturevalue(f"{kind}_server")
    bucket = server.bucket()
    proxy = proxy_to(server.url, dialect=kind)
    filesystem = server.through(proxy.url).filesystem()
    key = f"{bucket}/folder/name"
    create_once(filesystem, key, b"some bytes")
    assert proxy.up >= len(b"some bytes")
    with pytest.raises(FileExistsError):
        create_once(filesystem, key, b"other bytes")
    assert filesystem.cat_file(key) == b"some bytes"
    assert filesystem.cat_file(key, start=5, end=10) == b"bytes"
    assert filesystem.find(bucket) == [key]
    filesystem.rm_file(key)
    assert filesystem.find(bucket) == []
    assert proxy.count("GET") >= 3


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # of gcsfs and adlfs
@pytest.mark.parametrize("kind", ["s3", "gcs", "azure"])
def test_a_big_object_goes_in_several_requests(
    kind: str, request: pytest.FixtureRequest, proxy_to: Callable[..., Proxy], tmp_path: Path
) -> None:
    server: ObjectServer = request.getfixturevalue(f"{kind}_server")
    key = f"{server.bucket()}/big"
    proxy = proxy_to(server.url, dialect=kind)
    filesystem = server.through(proxy.url).filesystem()
    (tmp_path / "big").write_bytes(BIG * 4)
    with filesystem.open(key, "wb", block_size=5 * 2**20) as target:
        target.write(BIG * 4)
    assert proxy.up >= len(BIG) * 4
    filesystem.get_file(key, str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == BIG * 4
    assert proxy.count() == len(proxy.requests) >= 4


def test_git_and_registry_work_through_it(
    git_http_server: GitServer,
    oci_registry: Registry,
    proxy_to: Callable[..., Proxy],
    tmp_path: Path,
) -> None:
    repository = git_http_server.create("proxied", {"file": "text\n"})
    proxy = proxy_to(git_http_server.url, dialect="plain")
    url = git_http_server.authorized(repository).replace(git_http_server.url[7:], proxy.host)
    git("clone", "-q", url, str(tmp_path / "clone"))
    assert proxy.count("POST", "git-upload-pack") >= 1
    front = proxy_to(oci_registry.url, dialect="plain")
    begun = requests.post(f"{front.url}/v2/a/blobs/uploads/", timeout=10)
    assert begun.headers["Location"].startswith(front.url)


def test_records_tell_method_path_query_and_bytes(proxy: Proxy) -> None:
    assert requests.get(f"{proxy.url}/file?a=b", timeout=10).content == BIG
    requests.put(f"{proxy.url}/new", data=b"12345", timeout=10)
    requests.put(f"{proxy.url}/new", data=b"", timeout=10)
    requests.head(f"{proxy.url}/file", timeout=10)
    told = [(each.method, each.path, each.query, each.up, each.down) for each in proxy.requests]
    assert told == [
        ("GET", "/file", "a=b", 0, len(BIG)),
        ("PUT", "/new", "", 5, 0),
        ("PUT", "/new", "", 0, 0),
        ("HEAD", "/file", "", 0, 0),
    ]
    proxy.reset()
    assert (proxy.requests, proxy.up, proxy.down) == ([], 0, 0)


@pytest.mark.parametrize("status", [403, 404, 409, 429, 500, 503])
def test_the_nth_request_alone_is_refused(proxy: Proxy, status: int) -> None:
    proxy.fault(2, str(status))  # type: ignore[arg-type]
    answers = [requests.get(f"{proxy.url}/file", timeout=10) for _ in range(3)]
    assert [each.status_code for each in answers] == [200, status, 200]
    assert b"<Code>" in answers[1].content


@pytest.mark.parametrize("kind", ["cut-before", "cut-upload"])
def test_a_request_cut_on_its_way_has_no_effect(proxy: Proxy, kind: Any, tmp_path: Path) -> None:
    proxy.fault(1, kind)
    with pytest.raises(requests.ConnectionError):
        requests.put(f"{proxy.url}/new", data=BIG, timeout=10)
    time.sleep(0.1)
    assert not (tmp_path / "new").exists() or (tmp_path / "new").stat().st_size < len(BIG)


def test_a_request_cut_after_has_its_effect(proxy: Proxy, tmp_path: Path) -> None:
    proxy.fault(1, "cut-after")
    with pytest.raises(requests.ConnectionError):
        requests.put(f"{proxy.url}/new", data=b"12345", timeout=10)
    assert (tmp_path / "new").read_bytes() == b"12345"
    assert proxy.requests[0].status is None


def test_a_truncated_answer_is_an_error_of_the_connection(proxy: Proxy) -> None:
    proxy.fault(1, "truncated")
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        requests.get(f"{proxy.url}/file", timeout=10)
    assert proxy.down == len(BIG) // 2


def test_a_wrong_answer_has_the_right_length(proxy: Proxy) -> None:
    proxy.fault(1, "wrong-body")
    wrong = requests.get(f"{proxy.url}/file", timeout=10).content
    assert len(wrong) == len(BIG)
    assert wrong != BIG


def test_every_request_can_be_broken_and_mended(proxy: Proxy) -> None:
    proxy.fault(None, "503")
    assert {requests.get(proxy.url, timeout=10).status_code for _ in range(3)} == {503}
    proxy.reset()
    assert requests.get(proxy.url, timeout=10).status_code == 200


def test_latency_is_added_to_each_request(tmp_path: Path, proxy: Proxy) -> None:
    def seconds() -> float:
        began = time.monotonic()
        for _ in range(4):
            requests.head(f"{proxy.url}/file", timeout=10)
        return time.monotonic() - began

    without = seconds()
    proxy.latency = 0.05
    assert 0.2 <= seconds() < without + 0.5
