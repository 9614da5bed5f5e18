"""A secret that a flow looks up, traced through registration, runs and everything they leave."""

from __future__ import annotations

import time

import pytest

from tests.test_sentinels import FORMS, SENTINEL

pytestmark = [pytest.mark.service, pytest.mark.slow]
FLOW = """\
import base64, json, logging, os, subprocess, sys
from pathlib import Path
from urllib.parse import quote
from casflow import Flow, task
from casflow.secrets import Secret
from casflow.storage import S3

SEEN = {seen!r}

@task
def look():
    secret = Secret("TOKEN").get()
    texts = [secret, repr(secret), json.dumps([secret]), quote(secret, safe="")]
    texts.append(base64.b64encode(secret.encode()).decode())
    parent = Path(f"/proc/{os.getppid()}")
    seen = [Path("/proc/self/environ").read_bytes(), Path("/proc/self/cmdline").read_bytes()]
    seen += [(parent / "cmdline").read_bytes(), subprocess.run("env", stdout=-1).stdout]
    Path(SEEN).write_bytes(b"\\n".join(seen))
    for text in texts:
        print("printed", text)
        sys.stderr.write(f"written {text}\\n")
        logging.getLogger("flow.own").warning("logged %s", text)
    raise ValueError(f"failed with {texts}")

storage = S3({bucket!r}, secrets=["TOKEN", "AWS_CREDENTIALS"], add_default_labels=False)
with Flow("Sentinel", storage=storage) as flow:
    look()
"""


def assert_absent(data, what):
    text = data if isinstance(data, str) else data.decode(errors="replace")
    found = [form for form in FORMS if form in text]
    assert not found, f"{what} holds {found}: ...{text[max(0, text.find(found[0]) - 300) :][:600]}"


def test_a_secret_is_nowhere_but_where_it_was_kept(s3_server, home, tmp_path, monkeypatch):
    bucket, seen = s3_server.bucket(), tmp_path / "seen"
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    home.path.mkdir(mode=0o700)
    secrets = home.path / "secrets.toml"
    secrets.write_text(
        f'TOKEN = "{SENTINEL}"\n[AWS_CREDENTIALS]\nACCESS_KEY = "test"\n'
        f'SECRET_ACCESS_KEY = "{SENTINEL}"\n'
    )
    secrets.chmod(0o600)
    text = FLOW.replace("{bucket!r}", repr(bucket)).replace("{seen!r}", repr(str(seen)))
    script = home.script("Sentinel", text=text)
    for mode in [], ["--as-script"]:
        out, err = home.casflow("-vv", "register", *mode, "-p", script)
        assert_absent(out + err, "register -vv")
    for level in [], ["-v"], ["-vv"]:
        out, err = home.casflow(*level, "run", "Sentinel", code=1)
        assert "failed with" in err
        # What a flow prints in this terminal is its own; casflow's own lines are not.
        own = [e for e in (out + err).splitlines() if not e.startswith(("printed", "written"))]
        assert_absent("\n".join(own), f"run {level}")
        assert_absent(seen.read_bytes(), "the environment or the arguments of a process")
    home.casflow("runs", "create", "Sentinel")
    with home.start("-vv", "agent", "start") as agent:
        deadline = time.monotonic() + 90
        while (ended := home.json("runs", "show", "1"))["state"] in ("Scheduled", "Running"):
            assert time.monotonic() < deadline, ended
        agent.terminate()
        out, err = agent.communicate(timeout=60)
    assert ended["state"] == "Failed"
    assert "failed with" in ended["message"]
    own = [e for e in (out + err).splitlines() if "printed" not in e and "written" not in e]
    assert_absent("\n".join(own), "the agent")
    assert_absent(seen.read_bytes(), "the environment or the arguments of a run's process")
    for words in ("runs show 1", "runs ls", "show Sentinel", "config show", "ls", "registry check"):
        assert_absent("".join(home.casflow(*words.split(), code=...)), words)
        assert_absent("".join(home.casflow("-vv", *words.split(), code=...)), f"-vv {words}")
    for path in home.path.rglob("*"):
        if path.is_file() and path != secrets:
            assert_absent(path.read_bytes(), path.relative_to(home.path))
    files = s3_server.filesystem()
    for path in files.find(bucket):
        assert_absent(files.cat(path), path)


def test_the_forms_are_looked_for_at_all():
    with pytest.raises(AssertionError, match="holds"):
        assert_absent(f"x {SENTINEL}", "this")
