"""What a path, a ref or a credential may turn out to be, and the error that says so."""

from __future__ import annotations

import pytest

from casflow.errors import AccessError, ConfigError, IntegrityError, NotFoundError
from tests.hosts.repository import Link, Submodule
from tests.hosts.server import Answer
from tests.sources.conftest import GITS, PATH, make, script

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
ODD = {
    "flows/link.py": Link("my_flow.py"),
    "flows/pointer.py": LFS,
    "flows/binary.py": b"\x7fELF\0\0",
    "vendor": Submodule(),
    PATH: script("one"),
}


def one_line(error):
    assert "\n" not in str(error.value)
    assert error.value.hint


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("flows/absent.py", NotFoundError),
        ("flows/link.py", ConfigError),
        ("flows/pointer.py", ConfigError),
        ("flows/binary.py", ConfigError),
        ("flows", (ConfigError, NotFoundError)),  # GitLab and Bitbucket Server say "not found"
        ("vendor", (ConfigError, NotFoundError)),
        ("vendor/inside.py", (ConfigError, NotFoundError)),
    ],
)
def test_a_path_that_is_no_script(world, path, family):
    world.repository.commit(ODD)
    with pytest.raises(family) as caught:
        world.register(path=path)
    one_line(caught)


def test_a_missing_ref(world):
    world.commit("one")
    with pytest.raises(NotFoundError) as caught:
        world.register("nowhere")
    one_line(caught)
    assert "nowhere" in str(caught.value)


def test_a_missing_commit(world):
    world.commit("one")
    with pytest.raises(NotFoundError) as caught:
        world.register("12" * 20)
    one_line(caught)


def test_a_missing_repository(world):
    world.commit("one")
    storage = world.storage()
    storage.repo = f"{storage.repo}-other" if world.kind in GITS else "org/other"
    storage.flows["my-flow"] = PATH
    with pytest.raises(NotFoundError) as caught:
        storage.get_flow("my-flow")
    one_line(caught)


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        ("github", NotFoundError),  # these two hide what a caller may not read
        ("gitlab", NotFoundError),
        ("bitbucket-server", AccessError),
        ("bitbucket-cloud", AccessError),
        ("git", AccessError),
    ],
)
def test_a_private_repository_without_a_credential(open_world, kind, family):
    world = open_world(kind, token="user:token")
    world.commit("one")
    with pytest.raises(family) as caught:
        world.register()
    one_line(caught)


CREDENTIALS = {
    "github": ("tok-github", {"access_token_secret": "TOKEN"}),
    "gitlab": ("tok-gitlab", {"access_token_secret": "TOKEN"}),
    "bitbucket-server": ("tok-bitbucket", {"access_token_secret": "TOKEN"}),
    "bitbucket-cloud": (
        "user:tok-cloud",
        {"cloud_username_secret": "CLOUD_USER", "cloud_app_password_secret": "TOKEN"},
    ),
    "git": ("user:tok-git", {"git_token_secret_name": "TOKEN", "git_token_username": "user"}),
}


@pytest.mark.parametrize("kind", sorted(CREDENTIALS))
def test_a_named_credential_is_used(open_world, monkeypatch, kind):
    token, options = CREDENTIALS[kind]
    world = open_world(kind, token, **options)
    world.commit("one")
    monkeypatch.setenv("TOKEN", token.removeprefix("user:"))
    monkeypatch.setenv("CLOUD_USER", "user")
    assert world.run(world.register()).flow.mark == "one"
    assert 401 not in world.host.statuses


@pytest.mark.parametrize("kind", sorted(CREDENTIALS))
def test_an_expired_credential_is_an_access_error(open_world, monkeypatch, kind):
    token, options = CREDENTIALS[kind]
    world = open_world(kind, token, **options)
    world.commit("one")
    monkeypatch.setenv("TOKEN", "expired")
    monkeypatch.setenv("CLOUD_USER", "user")
    with pytest.raises(AccessError) as caught:
        world.register()
    one_line(caught)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("kind", sorted(CREDENTIALS))
def test_a_named_credential_that_is_missing_is_named(open_world, kind):
    token, options = CREDENTIALS[kind]
    world = open_world(kind, token, **options)
    world.commit("one")
    with pytest.raises(AccessError, match=r"TOKEN|CLOUD_USER"):
        world.register()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("github", "GITHUB_ACCESS_TOKEN"),
        ("gitlab", "GITLAB_ACCESS_TOKEN"),
        ("bitbucket-server", "BITBUCKET_ACCESS_TOKEN"),
    ],
)
def test_the_default_secret_is_used_when_it_is_set(open_world, monkeypatch, kind, name):
    world = open_world(kind, "12345e10", secrets=[name])  # not to be taken for a number
    world.commit("one")
    with pytest.raises(AccessError, match=name):
        world.register()
    monkeypatch.setenv(name, "12345e10")
    assert world.run(world.register()).flow.mark == "one"


def test_github_gives_files_over_its_inline_limit_by_their_blob(open_world):
    world = open_world("github")
    world.host.inline = 10
    world.commit("one")
    assert world.run(world.register()).flow.mark == "one"


def test_a_large_script_comes_whole(world):
    padding = "#" * 79 + "\n"
    world.repository.commit({PATH: script("large") + padding * 25_000})
    opened = world.run(world.register())
    assert (opened.flow.mark, opened.reference.blob.size > 2_000_000) == ("large", True)


def test_codecommit_says_that_a_file_is_too_large(open_world):
    world = open_world("codecommit")
    world.host.largest = 10
    world.commit("one")
    with pytest.raises(ConfigError, match="6 MB"):
        world.register()


def test_a_blob_id_that_does_not_fit_is_an_integrity_error(world):
    if world.kind.startswith("bitbucket") or world.kind in GITS:
        pytest.skip("the host gives no blob id, or git checks it")
    world.commit("one")
    world.host.change = lambda data: data + b"#"
    with pytest.raises(IntegrityError, match="git blob id"):
        world.register()


@pytest.mark.parametrize("answer", [Answer(200, b"<html>"), Answer.json({"a": 1})])
@pytest.mark.parametrize("kind", ["github", "gitlab", "bitbucket-server", "bitbucket-cloud"])
def test_an_address_that_is_no_api_is_an_integrity_error(open_world, kind, answer):
    world = open_world(kind)
    world.commit("one")
    world.host.next.append(answer)
    with pytest.raises(IntegrityError) as caught:
        world.register()
    one_line(caught)


@pytest.mark.parametrize("kind", ["github", "gitlab", "bitbucket-server", "git"])
def test_an_address_with_a_credential_is_refused(kind):
    with pytest.raises(ConfigError, match="credential") as caught:
        make(kind, "https://me:sentinel-1@example.org", None, PATH)
    assert "sentinel-1" not in str(caught.value)


def test_bitbucket_cloud_takes_no_access_token():
    from casflow.storage import Bitbucket

    with pytest.raises(ValueError, match="access_token_secret"):
        Bitbucket("p", "r", workspace="w", access_token_secret="X")


def test_a_path_must_be_given(open_world):
    from casflow.flow import Flow

    storage = open_world("gitlab").storage()
    storage.path = None
    with pytest.raises(ValueError, match="`path`"):
        storage.add_flow(Flow("my-flow"))
