"""Names of images, as users write them and as registries are asked for them."""

from __future__ import annotations

import pytest

from casflow.errors import ConfigError
from casflow.storage.docker.names import ImageName, name_for, scheme_of, split_url

DIGEST = f"sha256:{'0a' * 32}"


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag", "digest"),
    [
        ("python:3.11-slim", None, "python", "3.11-slim", None),
        ("casflow/base", None, "casflow/base", None, None),
        ("localhost/a", "localhost", "a", None, None),
        ("127.0.0.1:5000/a/b:t", "127.0.0.1:5000", "a/b", "t", None),
        (f"reg.io/a__b.c-d:T_1@{DIGEST}", "reg.io", "a__b.c-d", "T_1", DIGEST),
    ],
)
def test_a_name_is_taken_apart_and_put_together(text, host, repository, tag, digest):
    name = ImageName.parse(text)
    assert (name.host, name.repository, name.tag, name.digest) == (host, repository, tag, digest)
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    ["", "UPPER", "a:b:c", "reg.io/", "a b", "a/../b", "a@sha256:12", "a:" + "t" * 129, "-a"],
)
def test_what_is_no_name_is_refused(text):
    with pytest.raises(ConfigError):
        ImageName.parse(text)


def test_the_default_registry_is_asked_under_its_own_names():
    short, long = ImageName.parse("python"), ImageName.parse("docker.io/me/tool")
    assert (short.api_host, short.api_repository) == ("registry-1.docker.io", "library/python")
    assert (long.api_host, long.api_repository) == ("registry-1.docker.io", "me/tool")
    assert short.reference == "latest"


def test_a_digest_wins_over_a_tag():
    name = ImageName.parse(f"reg.io/a:t@{DIGEST}")
    assert name.reference == DIGEST
    assert name.pinned == f"reg.io/a@{DIGEST}"
    assert str(name.tagged("other")) == "reg.io/a:other"


def test_plain_http_is_for_this_machine_only():
    assert {scheme_of(host) for host in ("127.0.0.1:5000", "localhost", "[::1]:80")} == {"http"}
    assert {scheme_of(host) for host in ("10.0.0.1:5000", "localhost.evil.io", "reg.io")} == {
        "https"
    }


def test_a_registry_url_may_have_a_scheme_and_a_folder():
    assert split_url("https://reg.io/team/") == ("https", "reg.io/team")
    assert split_url("reg.io") == (None, "reg.io")
    assert ImageName.parse("reg.io/team/flow:1").name_in("https://reg.io/team") == "flow"


def test_several_flows_get_one_name_whatever_their_order():
    assert name_for(["My Flow"]) == "my-flow"
    assert name_for(["b", "a"]) == name_for(["a", "b"]) != name_for(["a"])
    assert ImageName.parse(name_for(["❌", "流程"])).repository.startswith("flows-")
