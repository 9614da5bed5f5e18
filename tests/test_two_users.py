"""Two users of one machine: neither reads, changes or trusts what is the other's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.home import PLAIN

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or shutil.which("setpriv") is None,
        reason="root makes the users",
    ),
]
ANNA, BERT = 64101, 64102  # no accounts are needed: the numbers are the users


@pytest.fixture
def place():
    """Return a folder that both can reach, with a folder of each in it."""
    with tempfile.TemporaryDirectory() as folder:  # pytest keeps its own folders closed
        made = Path(folder)
        made.chmod(0o755)
        for user, name in ((ANNA, "anna"), (BERT, "bert")):
            (made / name).mkdir()
            (made / name / "flow.py").write_text(PLAIN.format(name="Plain"))
            os.chown(made / name, user, user)
        yield made


def casflow(place, user, *words, code=0, **variables):
    """Run `casflow` as a user, and return what it printed and complained."""
    home = place / ("anna" if user == ANNA else "bert")
    kept = {name: value for name, value in os.environ.items() if name[:8] != "CASFLOW_"}
    environment = {**kept, "HOME": str(home), "CASFLOW_HOME": str(home / "home"), **variables}
    command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    command += ["--no-new-privs", sys.executable, "-m", "casflow", *map(str, words)]
    done = subprocess.run(
        command, env=environment, cwd=home, capture_output=True, text=True, check=False
    )
    assert code is ... or done.returncode == code, f"exit {done.returncode}: {done.stderr}"
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def ran(place):
    """Return the place after Anna has registered a flow and run it."""
    if casflow(place, ANNA, "--version", code=...)[0] == "":
        pytest.skip("other users cannot reach this Python")
    casflow(place, ANNA, "register", "-p", "flow.py")
    casflow(place, ANNA, "run", "Plain")
    return place


@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_a_home_of_the_other_is_refused(ran, mode):
    home = ran / "anna" / "home"
    (ran / "anna").chmod(0o755)
    for each in (home, *home.rglob("*")):
        each.chmod(mode if each.is_dir() else mode & 0o666)
    (home / "config.toml").write_text('default_storage = "evil.Storage"\n')
    for words in (["ls"], ["config", "show"], ["register", "-p", "flow.py"], ["run", "Plain"]):
        _, err = casflow(ran, BERT, *words, code=6, CASFLOW_HOME=str(home))
        assert "this home is another user's" in err
    assert "broken" in casflow(ran, BERT, "doctor", code=1, CASFLOW_HOME=str(home))[0]


def test_a_home_is_closed_to_the_other(ran):
    home = ran / "anna" / "home"
    for words in (["ls"], ["run", "Plain"], ["register", "-p", "flow.py"], ["cache", "ls"]):
        out, err = casflow(ran, BERT, *words, code=..., CASFLOW_HOME=str(home))
        assert "Plain  " not in out
        assert err, words
    readable = subprocess.run(
        ["setpriv", f"--reuid={BERT}", "--clear-groups", "find", home, "-readable"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert readable.stdout == ""


@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_a_cache_of_the_other_is_not_used_and_stays_as_it_is(ran, mode):
    cache = ran / "shared"
    shutil.copytree(ran / "anna" / "home" / "cache", cache)
    for each in (cache, *cache.rglob("*")):
        os.chown(each, ANNA, ANNA)
        each.chmod(mode if each.is_dir() else mode & 0o666)
    before = sorted((str(each), each.lstat().st_mtime_ns) for each in cache.rglob("*"))
    casflow(ran, BERT, "register", "-p", "flow.py")
    out, err = casflow(ran, BERT, "run", "Plain", CASFLOW_CACHE_DIR=str(cache))
    assert "Success" in out
    assert err.count("the cache is not used") == 1, err
    assert "miss" in out
    for words in (["cache", "clean"], ["cache", "prune", "--limit", "0"], ["cache", "verify"]):
        casflow(ran, BERT, *words, code=..., CASFLOW_CACHE_DIR=str(cache))
    assert sorted((str(each), each.lstat().st_mtime_ns) for each in cache.rglob("*")) == before


def test_a_store_of_the_other_is_read_where_it_may_be_and_never_written(ran):
    store = ran / "anna" / "home" / "flows"
    for each in (ran / "anna" / "home", store, *store.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)
    (ran / "anna").chmod(0o755)
    before = sorted((str(each), each.lstat().st_mtime_ns) for each in store.rglob("*"))
    assert "whole" in casflow(ran, BERT, "verify", store)[0]
    casflow(ran, BERT, "stats", store)
    _, err = casflow(ran, BERT, "gc", store, "--yes", code=6)
    assert err.startswith("error: ")
    assert sorted((str(each), each.lstat().st_mtime_ns) for each in store.rglob("*")) == before


def test_secrets_of_the_other_are_refused(ran):
    (ran / "anna" / "home" / "secrets.toml").write_text('TOKEN = "x"')
    home = Path(ran / "anna" / "home")
    home.chmod(0o755)
    (ran / "anna").chmod(0o755)
    code = "from casflow.secrets import Secret; print(Secret('TOKEN').get())"
    done = subprocess.run(
        ["setpriv", f"--reuid={BERT}", "--clear-groups", sys.executable, "-c", code],
        env={**os.environ, "CASFLOW_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    assert "AccessError" in done.stderr
