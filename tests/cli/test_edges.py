"""An environment that lacks what every program counts on; secrets that a flow hands out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.home import PLAIN

LOOKS = (
    PLAIN.replace("return sum(numbers)", "return look()")
    + """
def look():
    import logging
    from casflow.secrets import Secret
    value = Secret("PASSWORD").get()
    logging.getLogger("flow").warning("it is %s", value)
    logging.getLogger("flow").warning("it is %r", [value])
    raise ValueError(f"cannot use {value!r}")
"""
)
BUILDS = "from casflow.secrets import Secret\n" + PLAIN.replace(
    "load(extract(", "Secret('PASSWORD').get(); load(extract("
)
HOLDS = "import os\nkept = os.environ['PASSWORD']\n" + PLAIN.replace(
    "return sum(numbers)", "return kept"
).replace(
    "from casflow", "from casflow.secrets import Secret\nSecret('PASSWORD').get()\nfrom casflow"
)


def test_without_a_home_the_setting_is_named(home, tmp_path):
    environment = {"PATH": os.environ["PATH"], "HOME": ""}
    environment.pop("HOME")
    code = (
        "import os, pwd, sys\n"
        "pwd.getpwuid = lambda uid: (_ for _ in ()).throw(KeyError(uid))\n"
        "from casflow.cli import main; main(['ls'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "set CASFLOW_HOME" in done.stderr


def test_a_current_folder_that_is_gone_is_named(home, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    code = "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]); "
    code += "from casflow.cli import main; main(sys.argv[2:])"
    command = [sys.executable, "-c", code, str(folder)]
    options = {"env": home.environment, "capture_output": True, "text": True}
    assert subprocess.run([*command, "ls"], check=False, **options).returncode == 0
    folder.mkdir()
    options["env"] = {**home.environment, "CASFLOW_CACHE_DIR": "relative"}
    done = subprocess.run([*command, "ls"], check=False, **options)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "current folder is gone" in done.stderr


def test_an_ascii_terminal_gets_every_name(home):
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    home.casflow("register", "-p", home.script("zwölf"), environment=ascii_only)
    for command in (("ls",), ("ls", "--json"), ("show", "zwölf"), ("stats",), ("agent", "status")):
        home.casflow(*command, environment=ascii_only)


def test_a_default_storage_that_needs_options_is_named(home):
    environment = {"CASFLOW_DEFAULT_STORAGE": "casflow.storage.S3"}
    _, err = home.casflow("register", "-p", home.script(), code=2, environment=environment)
    assert "CASFLOW_DEFAULT_STORAGE" in err


@pytest.mark.parametrize("secret", ["s3cr3t word", "quo'te\"d\\word", "pässwörd"])
def test_what_a_flow_looks_up_is_in_no_output(home, secret):
    home.casflow("register", "-p", home.script(text=LOOKS))
    for options in ((), ("-vv",)):
        out, err = home.casflow(
            *options, "run", "Plain", "--json", code=1, environment={"PASSWORD": secret}
        )
        assert "cannot use" in err
        assert "***" in err
        for form in (secret, repr(secret)[1:-1]):
            assert form not in out + err


def test_a_secret_that_is_read_while_a_flow_is_built_is_refused(home):
    script = home.script(text=BUILDS)
    _, err = home.casflow("register", "-p", script, code=1, environment={"PASSWORD": "sentinel-1"})
    assert "a secret is read while a flow is built" in err
    assert home.references() == []


@pytest.mark.parametrize("options", [(), ("--as-script",)])
def test_a_flow_that_holds_a_known_secret_is_not_stored(home, options):
    text = HOLDS if not options else HOLDS.replace("kept = os", "word = 'sentinel-1'; kept = os")
    script = home.script(text=text)
    _, err = home.casflow(
        "register", "-p", script, *options, code=2, environment={"PASSWORD": "sentinel-1"}
    )
    assert "holds the value of a secret" in err
    assert "sentinel-1" not in err
    assert "kept" in err or options
    assert home.blobs() == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is full")
@pytest.mark.parametrize(
    ("streams", "code"),
    [(">&-", 3), ("2>&-", 3), (">&- 2>&- <&-", 3), ("2>/dev/full", 3), (">/dev/full", 3)],
)
def test_streams_that_lead_nowhere_change_no_exit_code(home, streams, code):
    def run(*words):
        shell = ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, "-m", "casflow", *words]
        options = {"env": home.environment, "capture_output": True, "text": True}
        return subprocess.run(shell, check=False, **options)

    done = run("show", "nope")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    done = run("ls", "--json")
    assert done.returncode == (7 if streams == ">/dev/full" else 0), done.stderr
    assert "unexpected" not in done.stderr


def test_a_home_whose_name_is_no_text_is_named(home):
    odd = os.fsdecode(bytes(home.path) + b"\xff")
    script, environment = home.script(), {"CASFLOW_HOME": odd}
    _, err = home.casflow("register", "-p", script, code=2, environment=environment)
    assert "is no UTF-8" in err
    home.casflow("config", "show", environment=environment)
