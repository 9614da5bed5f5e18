"""`casflow doctor` finds each broken set-up, names it in a line, and says what mends it."""

from __future__ import annotations

import os
import sqlite3
import sys
import time

import pytest

from casflow.cli import casflow
from casflow.cli.doctor.checks import check_all
from tests.services.process import free_port

NEEDS_SECRET = """
from casflow import Flow, task
from casflow.storage import Local

@task
def look():
    return 1

with Flow("Careful", storage=Local(secrets=["NOT_THERE"])) as flow:
    look()
"""


def findings(*, fix=False):
    """Return what is not ok, as (check, status, what, mend)."""
    found = check_all(fix=fix)
    return [(e.check, e.status, e.what, e.mend) for e in found if e.status != "ok"]


def only(check, status="broken"):
    """Return what was found and what mends it; nothing else may be wrong."""
    ((its, state, what, mend),) = findings()
    assert (its, state) == (check, status), what
    return what, mend


def test_a_home_that_is_not_there_yet_is_fine(home):
    assert findings() == []
    assert not home.path.exists()


def test_a_home_in_use_is_fine(home):
    home.casflow("register", home.script())
    assert findings() == []
    out, err = home.casflow("doctor")
    assert err == ""
    assert all(line.startswith("ok ") for line in out.splitlines())
    assert "1 flow" in out
    assert home.json("doctor")["healthy"] is True


def test_a_file_in_the_place_of_the_home(home):
    home.path.write_text("not a folder")
    what, mend = only("home")
    assert str(home.path) in what
    assert "CASFLOW_HOME" in mend
    out, err = home.casflow("doctor", code=1)
    assert f"broken   home         no folder: {home.path}; move it away" in out
    assert "1 broken, 0 warnings" in err
    said = home.json("doctor", code=1)
    assert said["healthy"] is False
    assert {each["check"] for each in said["findings"] if each["status"] == "broken"} == {"home"}


def test_a_home_that_nobody_can_write_to(home, monkeypatch):
    monkeypatch.setenv("CASFLOW_HOME", "/proc/casflow-home")
    what, _ = only("home")
    assert "/proc" in what


def test_a_home_that_others_can_read_is_found_and_mended(home):
    home.casflow("register", home.script())
    home.path.chmod(0o755)
    (home.path / "registry.db").chmod(0o644)
    what, mend = only("permissions")
    assert str(home.path) in what
    assert "--fix" in mend
    assert findings(fix=True) == []
    assert findings() == []
    assert home.path.stat().st_mode & 0o077 == 0
    assert (home.path / "registry.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cache_limit = [", "cannot read the settings"),
        ('cache_limt = "1GB"', "cache_limt"),
        ('cache_limit = "much"', "not a size"),
    ],
)
def test_settings_that_cannot_be_read(home, text, words):
    home.path.mkdir(mode=0o700)
    (home.path / "config.toml").write_text(text)
    what, _ = only("settings")
    assert words in what


def test_a_misspelt_variable(home, monkeypatch):
    monkeypatch.setenv("CASFLOW_CACHE_LIMT", "1GB")
    what, mend = only("variables", "warning")
    assert "CASFLOW_CACHE_LIMT" in what
    assert mend == "did you mean 'CASFLOW_CACHE_LIMIT'?"


def test_a_registry_that_is_no_database(home):
    home.path.mkdir(mode=0o700)
    (home.path / "registry.db").touch(mode=0o600)
    (home.path / "registry.db").write_bytes(b"no database" * 1000)
    what, _ = only("registry")
    assert "registry.db" in what


def test_a_registry_of_a_newer_casflow(home):
    home.casflow("register", home.script())
    with sqlite3.connect(home.path / "registry.db") as connection:
        connection.execute("UPDATE casflow_schema SET number = 99")
    connection.close()
    what, _ = only("registry")
    assert "99" in what or "newer" in what


def test_a_registry_that_does_not_answer(home, monkeypatch):
    pytest.importorskip("psycopg")
    url = f"postgresql+psycopg://me:sesame-open@127.0.0.1:{free_port()}/casflow"
    monkeypatch.setenv("CASFLOW_REGISTRY", url)
    what, _ = only("registry")
    assert "127.0.0.1" in what
    assert "sesame-open" not in what


def test_a_record_that_cannot_be_read(home):
    home.casflow("register", home.script())
    with sqlite3.connect(home.path / "registry.db") as connection:
        connection.execute("UPDATE casflow_versions SET storage = '[]'")
    connection.close()
    what, mend = only("registry", "warning")
    assert "1 record" in what
    assert "registry check" in mend


def test_a_file_in_the_place_of_the_cache(home, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("not a folder")
    monkeypatch.setenv("CASFLOW_CACHE_DIR", str(tmp_path / "cache"))
    what, _ = only("cache")
    assert str(tmp_path / "cache") in what


def test_a_cache_that_may_be_larger_than_the_disk(home, monkeypatch):
    (home.path / "cache").mkdir(mode=0o700, parents=True)
    home.path.chmod(0o700)
    monkeypatch.setenv("CASFLOW_CACHE_LIMIT", "100000TB")
    _, mend = only("cache", "warning")
    assert "cache_limit" in mend


def test_a_clock_that_is_behind(home):
    home.casflow("register", home.script())
    ahead = time.time() + 3600
    os.utime(home.path / "registry.db", (ahead, ahead))
    what, mend = only("clock")
    assert "behind by 3" in what
    assert "NTP" in mend


def test_a_default_storage_that_is_not_there(home, monkeypatch):
    monkeypatch.setenv("CASFLOW_DEFAULT_STORAGE", "mine.storage.Shelf")
    what, mend = only("storage")
    assert "mine.storage.Shelf" in what
    assert "CASFLOW_DEFAULT_STORAGE" in mend


def test_a_store_whose_package_is_missing(home, monkeypatch):
    monkeypatch.setenv("CASFLOW_STORE", "gs://bucket")
    for name in [each for each in sys.modules if each.split(".")[0] == "gcsfs"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.delitem(sys.modules, "casflow.storage.gcs", raising=False)
    _, mend = only("store")
    assert mend == "install casflow[gcs]"


def test_a_store_that_does_not_answer(home, monkeypatch):
    pytest.importorskip("s3fs")
    monkeypatch.setenv("CASFLOW_STORE", "s3://bucket")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame-open")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    what, _ = only("store")
    assert "sesame-open" not in what


def test_a_store_without_credentials(home, monkeypatch, tmp_path):
    pytest.importorskip("s3fs")
    monkeypatch.setenv("CASFLOW_STORE", "s3://bucket")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    what, _ = only("store")
    assert "redential" in what


def test_a_bucket_that_is_not_there(home, monkeypatch, s3_server):
    for name, value in s3_server.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CASFLOW_STORE", "s3://no-such-bucket-here")
    what, _ = only("store")
    assert "no-such-bucket-here" in what


def test_a_secret_that_a_flow_needs(home):
    home.casflow("register", home.script(text=NEEDS_SECRET))
    what, mend = only("secrets")
    assert what == "Careful: NOT_THERE is missing"
    assert "secrets.toml" in mend


def test_certificates_that_are_not_there(home, monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    what, _ = only("certificates")
    assert "SSL_CERT_FILE" in what


def test_doctor_changes_nothing_unasked(home):
    home.casflow("register", home.script())
    before = {path: path.stat().st_mtime_ns for path in home.path.rglob("*") if path.is_file()}
    casflow.main(["doctor"], "casflow", standalone_mode=False)
    after = {path: path.stat().st_mtime_ns for path in home.path.rglob("*") if path.is_file()}
    changed = {path for path in before if before[path] != after.get(path)}
    assert not {path for path in changed if "cache" not in path.parts}, changed
