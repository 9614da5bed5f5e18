"""Bad input: one clear line, a documented exit code, nothing half-written."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.home import PLAIN

CODES = {"failed": 1, "wrong": 2, "not found": 3, "damaged": 4, "conflict": 5, "access": 6}

TWO = PLAIN.replace("{name!r}", "'a'") + "\nwith Flow('b') as other:\n    load(extract(3))\n"
TWINS = PLAIN.replace("{name!r}", "'a'") + "\nwith Flow('a') as other:\n    load(extract(3))\n"
HELD = PLAIN.replace("return sum(numbers)", "return held") + "\nheld = (each for each in ())\n"
NAMELESS = PLAIN.replace("{name!r}", "''")
NAMED = PLAIN.replace("{name!r}", "NAME")

SCRIPTS = {
    "syntax error": ("def broken(:\n", 1, "not valid Python"),
    "not text": ("\x00\x01", 1, "not valid Python"),
    "no flow": ("x = 1\n", 3, "No flows found"),
    "empty": ("", 3, "No flows found"),
    "two of one name": (TWINS, 5, "two flows are named 'a'"),
    "raises": ("raise RuntimeError('no luck')\n", 1, "RuntimeError: no luck"),
    "exits": ("import sys; sys.exit(7)\n", 1, "SystemExit: 7"),
    "missing import": ("import no_such_module\n", 1, "no_such_module"),
    "unpicklable": (HELD, 2, "held"),
    "flow without a name": (NAMELESS, 1, "A name must be provided"),
    "flow named by a number": (NAMED.replace("NAME", "7"), 1, "A name must be provided"),
    "name with a line break": (NAMED.replace("NAME", repr("a\nb")), 1, "control character"),
    "name of 10,000 characters": (NAMED.replace("NAME", "'x' * 10000"), 1, "10000 characters"),
    "unknown storage": (
        PLAIN.replace("{name!r}", "'a', storage=Tape()") + "from casflow.storage import Tape\n",
        1,
        "Tape",
    ),
}


@pytest.mark.parametrize("case", SCRIPTS)
def test_bad_scripts(home, case):
    text, code, expected = SCRIPTS[case]
    check(home, code, expected, "register", "-p", home.script(text=text))
    assert home.references() == []


ARGUMENTS = {
    "missing file": (("register", "-p", "/no/such/file.py"), 3, "/no/such/file.py"),
    "a folder without scripts": (("register", "-p", "/"), 3, "no script there"),
    "neither file nor module": (("register",), 2, "--path"),
    "missing module": (("register", "-m", "no_such_module"), 3, "no_such_module"),
    "module without flows": (("register", "-m", "json"), 3, "No flows found"),
    "relative module": (("register", "-m", ".x"), 2, "not the name of a module"),
    "missing attribute": (("register", "-m", "json:nope"), 3, "Failed to find flow"),
    "attribute that is no flow": (("register", "-m", "json:__doc__"), 2, "not a Flow"),
    "module as script": (("register", "-m", "json", "--as-script"), 2, "--path"),
    "unknown flow": (("run", "nope"), 3, "no such flow"),
    "unknown flow to show": (("show", "nope"), 3, "no such flow"),
    "unknown run": (("runs", "show", "99"), 3, "99"),
    "run that is no number": (("runs", "show", "x"), 2, "x"),
    "cancel unknown run": (("runs", "cancel", "99"), 3, "99"),
    "unknown state": (("runs", "ls", "--state", "Lost"), 2, "Lost"),
    "unknown command": (("frobnicate",), 2, "frobnicate"),
    "unknown option": (("ls", "--nope"), 2, "--nope"),
    "bad size": (("cache", "prune", "--max-size", "much"), 2, "not a size"),
    "path as a name": (("run", "../../etc/passwd"), 3, "no such flow"),
    "store of two lines": (("verify", "s3://b/\n"), 2, "not the URL of a store"),
    "store that is not there": (("verify", "/no/such/store"), 3, "/no/such/store"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_bad_arguments(home, case):
    arguments, code, expected = ARGUMENTS[case]
    check(home, code, expected, *arguments)


REGISTERED = {
    "unknown version": (("run", "Plain", "--version", "9"), 3, "no version 9"),
    "unknown digest": (("run", "Plain", "--digest", "blake3:" + "0" * 64), 3, "no version with"),
    "malformed digest": (("run", "Plain", "--digest", "sha256:12"), 2, "not a digest"),
    "near name": (("run", "plain"), 3, "did you mean 'Plain'"),
    "parameter without value": (("run", "Plain", "-P", "n"), 2, "name=value"),
    "parameter twice": (("run", "Plain", "-P", "n=1", "-P", "n=2"), 2, "twice"),
    "unknown parameter": (("run", "Plain", "-P", "m=1"), 2, "m"),
    "other project": (("run", "Plain", "--project", "other"), 3, "project 'default'"),
    "label of a run": (("runs", "create", "Plain", "-l", " "), 2, "label"),
    "label with a comma": (("runs", "create", "Plain", "-l", "a,b"), 2, "label"),
    "malformed parameter": (("runs", "create", "Plain", "-P", "=1"), 2, "name=value"),
}


@pytest.mark.parametrize("case", REGISTERED)
def test_bad_requests_for_a_registered_flow(home, case):
    home.casflow("register", "-p", home.script())
    arguments, code, expected = REGISTERED[case]
    check(home, code, expected, *arguments)


def test_one_of_two_flows_is_chosen_by_name(home):
    script = home.script(text=TWO)
    (chosen,) = home.json("register", "-p", script, "-n", "b")
    assert chosen["flow"] == "b"
    assert len(home.json("register", "-p", script)) == 2
    check(home, 3, "'a', 'b'", "register", "-p", script, "-n", "c")


def test_a_bad_label_is_refused_before_anything_is_stored(home):
    check(home, 2, "label", "register", "-p", home.script(), "-l", "a,b")
    assert home.references() == []


@pytest.mark.parametrize(
    "name", ["❌", "../../../etc/cron.d/x", "C:\\x", "a" * 1000, "Ünïcode 流程"]
)
def test_strange_names_are_stored_safely(home, name):
    (result,) = home.json("register", "-p", home.script(name))
    assert result["flow"] == name
    assert home.json("run", name)["state"] == "Success"
    (reference,) = home.references()
    assert reference.parent.parent == home.path / "flows"
    home.casflow("verify")


def test_a_damaged_registry_is_named(home):
    home.casflow("register", "-p", home.script())
    (home.path / "registry.db").write_bytes(b"this is no database" * 1000)
    check(home, 4, "registry.db", "ls")


def test_a_damaged_setting_is_named(home):
    home.path.mkdir()
    (home.path / "config.toml").write_text("cache_limit = ")
    check(home, 2, "config.toml", "ls")
    (home.path / "config.toml").write_text("colour = 'red'")
    check(home, 2, "unknown setting 'colour'", "ls")


@pytest.mark.skipif(os.name != "posix", reason="pipes with a name")
@pytest.mark.parametrize("command", [("ls",), ("run", "Plain"), ("verify",), ("register",)])
def test_a_registry_that_is_a_pipe_or_a_device_is_not_waited_for(home, command):
    home.path.mkdir(mode=0o700)
    os.mkfifo(home.path / "registry.db", 0o600)
    given = ("-p", home.script()) if command == ("register",) else ()
    _, err = home.casflow(*command, *given, code=2)
    assert "the registry is no file" in err


def test_a_bad_environment_variable_is_named(home):
    check(
        home, 2, "CASFLOW_CACHE_LIMIT", "cache", "size", environment={"CASFLOW_CACHE_LIMIT": "big"}
    )


def test_each_of_several_sources_that_are_missing_has_its_line(home):
    _, err = home.casflow("register", "-p", "x.py", "-m", "no_such_module", code=3)
    path, module = err.splitlines()
    assert "x.py" in path
    assert "no_such_module" in module


def test_a_registry_url_that_is_none(home):
    check(home, 2, "the registry's URL", "ls", environment={"CASFLOW_REGISTRY": "nonsense"})


def test_verify_names_a_reference_of_an_unknown_format(home):
    home.casflow("register", "-p", home.script())
    (reference,) = home.references()
    reference.write_text(reference.read_text().replace('"format": 1', '"format": 2'))
    check(home, 4, "1 thing is wrong", "verify")


def test_a_damaged_blob_is_never_run(home):
    home.casflow("register", "-p", home.script())
    for path in home.path.glob("flows/.casflow/blobs/??/*"):
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    check(home, 4, "does not match its digest", "run", "Plain")
    check(home, 4, "", "verify")


def test_a_failing_task_is_a_failed_run(home):
    text = PLAIN.replace("return sum(numbers)", "raise ValueError('too few')")
    home.casflow("register", "-p", home.script(text=text))
    with home.start("run", "Plain", "--json") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert '"state": "Failed"' in out
    assert "too few" in out + err


def test_a_home_below_a_file(home, tmp_path):
    (tmp_path / "home").write_text("a file")
    check(home, 2, str(home.path), "register", "-p", home.script())


@pytest.fixture
def small_disk(tmp_path):
    """Return a file system with little room; only root can make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def read_only(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    return small_disk


def test_a_full_disk(home, small_disk):
    text = PLAIN.replace("return sum(numbers)", "return DATA") + "\nimport random\n"
    text += "DATA = random.Random(1).randbytes(3_000_000)\n"
    script = home.script(text=text)
    elsewhere = {"CASFLOW_HOME": str(small_disk / "home")}
    check(home, 7, "no space left", "register", "-p", script, environment=elsewhere)
    assert list(small_disk.glob("home/flows/[!.]*/*")) == []
    assert list(small_disk.glob("home/flows/.casflow/tmp/*")) == []


def test_a_read_only_disk(home, read_only):
    elsewhere = {"CASFLOW_HOME": str(read_only / "home")}
    check(home, 6, "read-only", "register", "-p", home.script(), environment=elsewhere)


def check(home, code, expected, *arguments, **options):
    """Run casflow; it must exit with the code and complain in one line that says so."""
    _, err = home.casflow(*arguments, code=code, **options)
    lines = [line for line in err.splitlines() if line.strip()]
    assert "Traceback" not in err
    assert expected.lower() in err.lower()
    complaints = [line for line in lines if line.lower().startswith("error:")]
    assert len(complaints) == 1, err
    assert lines[-1] == complaints[0]


@pytest.mark.parametrize(
    ("word", "near"), [("regster", "register"), ("registry-", "registry"), ("Verify", "verify")]
)
def test_a_misspelt_command_is_told_the_near_one(home, word, near):
    _, err = home.casflow(word, code=2)
    assert f"Did you mean '{near}'?" in err
