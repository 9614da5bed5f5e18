"""Nothing that a host does makes a request endless in time, bytes or pages."""

import contextlib
import datetime as dt
import gzip
import io
import time
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from casflow import http
from casflow.errors import CasflowError, IntegrityError, UnavailableError
from casflow.http import retry

ENDLESS = {
    "status": b"HTTP/1.1 2",
    "headers": b"HTTP/1.1 200 OK\r\nX-A: ",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
    "body without length": b"HTTP/1.1 200 OK\r\n\r\n",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n",
}


@pytest.mark.parametrize("part", ENDLESS)
def test_an_answer_that_comes_byte_by_byte_is_cut_off_at_the_deadline(part, dribble):
    with pytest.raises(UnavailableError, match="within"):
        http.send("GET", dribble(ENDLESS[part]), where="there", seconds=0.4)


def test_a_body_longer_than_the_limit_is_refused(serve):
    host = serve((200, {}, b"x" * 1001))
    with pytest.raises(IntegrityError, match="longer than 1000 bytes"):
        http.send("GET", host.url, where="there", limit=1000)
    assert len(http.send("GET", host.url, where="there", limit=1001).body) == 1001


def test_a_body_without_end_is_refused_before_it_was_read(serve):
    host = serve((200, {"Content-Length": str(1 << 40)}, b"x" * (1 << 20)))
    with pytest.raises(IntegrityError, match="longer"):
        http.send("GET", host.url, where="there", limit=1 << 16)


def test_the_limit_holds_for_what_was_packed(serve):
    packed = gzip.compress(bytes(64 << 20))
    host = serve((200, {"Content-Encoding": "gzip"}, packed))
    with pytest.raises(IntegrityError, match="longer"):
        http.send("GET", host.url, where="there", limit=1 << 20)


def test_a_target_is_bounded_and_starts_anew_with_each_attempt(serve):
    host = serve((200, {"Content-Length": "10"}, b"half"), (200, {}, b"whole"))
    target = io.BytesIO()
    target.write(b"before ")
    http.send("GET", host.url, where="there", target=target)
    assert target.getvalue() == b"before whole"


def test_a_target_gets_nothing_of_a_failure(serve):
    target = io.BytesIO()
    answer = http.send("GET", serve((404, {}, b"no")).url, where="there", target=target)
    assert (answer.body, target.getvalue()) == (b"no", b"")


def links(answer):
    return answer.headers.get("Next")


@pytest.mark.parametrize("next_page", ["/a", "/a?", "http://other.invalid/", "https://127.0.0.1/"])
def test_pages_go_round_in_no_circle_and_stay_on_their_host(next_page, serve):
    host = serve((200, {"Next": next_page}, b""))
    ask = lambda url: http.send("GET", url, where="there")  # noqa: E731
    with pytest.raises(IntegrityError, match="list"):
        list(http.read_pages(f"{host.url}/a", ask, links, where="there"))
    assert len(host.log) <= 2


def test_pages_are_bounded_in_number(monkeypatch):
    monkeypatch.setattr("casflow.http.pages.MOST", 5)
    asked = []

    def ask(url):
        asked.append(url)
        return http.Answer(200, "OK", {"Next": f"/{len(asked)}"}, url)

    with pytest.raises(IntegrityError, match="more than 5"):
        list(http.read_pages("http://host/0", ask, links, where="there"))
    assert len(asked) == 5


# ---- attempts -------------------------------------------------------------------------------


@pytest.fixture
def waits(monkeypatch):
    """What was waited, without waiting; threads of others in this process go on to sleep."""
    waited = []
    clock = SimpleNamespace(sleep=waited.append, time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr(retry, "time", clock)
    return waited


@pytest.mark.parametrize("trouble", ["reset", (503, {}, b""), (502, {}, b""), (500, {}, b"")])
def test_what_may_pass_is_tried_again_a_bounded_number_of_times(trouble, serve, waits):
    host = serve(trouble, trouble, (200, {}, b"well"))
    assert http.send("GET", host.url, where="there").body == b"well"
    host = serve(trouble)
    if trouble == "reset":
        with pytest.raises(UnavailableError):
            http.send("GET", host.url, where="there")
    else:
        assert http.send("GET", host.url, where="there").status == trouble[0]
    assert len(host.log) == retry.ATTEMPTS


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_that_a_host_asks_for_is_kept(status, serve, waits):
    host = serve((status, {"Retry-After": "7"}, b""), (200, {}, b"well"))
    assert http.send("GET", host.url, where="there").body == b"well"
    assert waits == [7.0]


def test_waits_end_at_the_deadline(serve, waits):
    host = serve((503, {"Retry-After": "7"}, b""))
    assert http.send("GET", host.url, where="there", seconds=5).status == 503
    assert (len(host.log), waits) == (1, [])


@pytest.mark.parametrize("trouble", ["reset", (503, {}, b"")])
def test_a_verb_that_is_not_repeatable_is_sent_once(trouble, serve, waits):
    host = serve(trouble)
    with contextlib.suppress(UnavailableError):
        http.send("POST", host.url, where="there", data=b"x")
    assert len(host.log) == 1


def test_a_body_from_a_file_is_sent_whole_again(serve, waits):
    host = serve((503, {}, b""), (200, {}, b""))
    put = frozenset({"PUT"})
    http.send("PUT", host.url, where="there", retried=put, data=io.BytesIO(b"content"))
    assert [each[3] for each in host.log] == [b"content", b"content"]


ODD = ["9" * 400, "-5", "soon", "1.5", "", "٣", "Wed, 99 Foo 9999 99:99:99 GMT", "\x7f", "1e999"]


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("name", ["Retry-After", "X-RateLimit-Reset", "Date"])
def test_no_value_of_a_header_is_more_than_a_wait_or_none(name, value):
    headers = {"X-RateLimit-Remaining": "0", name: value}
    assert retry.wait_of(headers) is None or retry.wait_of(headers) >= 0
    for status in (403, 429, 500, 503):
        answer = http.Answer(status, "", headers, "http://host/")
        with pytest.raises(CasflowError):
            http.check(answer, where="there")


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"1e999", b"null", b'{"message": {"a": 1}}',
     b'{"errors": "x"}', b'{"errors": [1]}', b'{"error": [[]]}', b"NaN", b'"\\ud800"'],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 404, 500])
def test_no_body_of_a_failure_is_more_than_an_error(status, body):
    with pytest.raises(CasflowError):
        http.check(http.Answer(status, "", {}, "http://host/", body), where="there")


def test_a_hosts_words_reach_the_terminal_without_control_characters():
    body = b'{"message": "\\u001b[2Jgone\\u009b\\u202e"}'
    with pytest.raises(CasflowError) as caught:
        http.check(http.Answer(400, "", {}, "http://host/", body), where="there")
    assert str(caught.value).isprintable()
    assert "gone" in str(caught.value)


def test_a_date_is_read_by_the_hosts_clock():
    moment = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    headers = {
        "Date": format_datetime(moment, usegmt=True),
        "Retry-After": format_datetime(moment + dt.timedelta(seconds=9), usegmt=True),
    }
    assert retry.wait_of(headers) == 9


@pytest.mark.parametrize(
    "options",
    [{"headers": {"X": "€"}}, {"headers": {"X": "a\nb"}}, {"headers": {"X": 1}}, {"unknown": 1}],
)
def test_what_cannot_be_a_request_is_an_error_of_the_caller(options, serve):
    with pytest.raises(CasflowError) as caught:
        http.send("GET", serve((200, {}, b"")).url, where="there", **options)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "url", ["http://", "ftp://host/", "nonsense", "http://[::1", "http://a:b/"]
)
def test_what_is_no_address_is_an_error_of_the_caller(url):
    with pytest.raises(CasflowError) as caught:
        http.send("GET", url, where="there")
    assert caught.value.exit_code == 2


def test_a_list_is_bounded_in_bytes_and_time(monkeypatch):
    def page(url):
        return http.Answer(200, "OK", {}, url, bytes(1 << 20))

    def following(answer):
        return f"?n={int(answer.url.rpartition('=')[2]) + 1}"

    with pytest.raises(IntegrityError, match="more than 67108864 bytes"):
        list(http.read_pages("http://h/?n=0", page, following, where="there"))
    monkeypatch.setattr("casflow.http.pages.MOST_SECONDS", -1.0)
    with pytest.raises(UnavailableError, match="took more than"):
        list(http.read_pages("http://h/?n=0", page, following, where="there"))
