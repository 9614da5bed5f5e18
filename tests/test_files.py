"""What lies where a small file should be: pipes and devices make nothing wait, nor fill it."""

from __future__ import annotations

import os

import pytest

from casflow import config
from casflow.cli.built import read_built
from casflow.errors import CasflowError
from casflow.secrets import find
from casflow.signing.verifier import load_trust
from casflow.trees.scan import scan

READERS = {
    "config.toml": lambda _: config.load(),
    "secrets.toml": lambda _: find("TOKEN"),
    "allowed_signers": lambda _: load_trust(config.load()),
    ".gitignore": scan,
    "built.json": lambda home: read_built(home / "built.json"),
}
THINGS = {
    "pipe": os.mkfifo,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "long file": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_RDWR), 1 << 30),
}


@pytest.mark.skipif(os.name != "posix", reason="pipes with a name")
@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("name", READERS)
def test_nothing_waits_and_nothing_is_filled(home, name, thing):
    home.path.mkdir(mode=0o700)
    THINGS[thing](home.path / name)
    (home.path / name).chmod(0o600) if thing != "endless device" else None
    with pytest.raises(CasflowError) as caught:
        READERS[name](home.path)
    assert caught.value.exit_code == 2
    assert name in str(caught.value)


@pytest.mark.parametrize("data", [b'\xef\xbb\xbfTOKEN = "x"\n', b'TOKEN = "x"\r\n'])
def test_what_other_editors_write_is_read(home, data):
    home.path.mkdir(mode=0o700)
    (home.path / "secrets.toml").write_bytes(data)
    (home.path / "secrets.toml").chmod(0o600)
    assert find("TOKEN") == "x"
    (home.path / "config.toml").write_bytes(data.replace(b"TOKEN", b"retention"))
    assert config.load().retention == "x"
