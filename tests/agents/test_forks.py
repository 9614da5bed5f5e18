"""Runs that are forked: what they inherit, what they cannot leave behind, who dies with whom."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from casflow.agents.fork_client import ForkClient
from casflow.flow.script import flow_from_script
from casflow.registration import register
from casflow.registry import RunState
from casflow.storage.local import Local

if TYPE_CHECKING:
    from tests.agents.conftest import House

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no fork server here")

STATE = """
    import gc, json, locale, logging, os, pathlib, random, resource, signal, sys, threading
    state = {
        "modules": sorted(sys.modules),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "mask": os.umask(0o22),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "input": os.readlink("/proc/self/fd/0"),
        "signals": [str(signal.getsignal(each)) for each in sorted(signal.valid_signals())],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "path": sys.path,
        "threads": len(os.listdir("/proc/self/task")),
        "loggers": sorted(logging.root.manager.loggerDict),
        "handlers": len(logging.root.handlers),
        "home": str(pathlib.Path.home()),
        "recursion": sys.getrecursionlimit(),
        "collector": gc.isenabled(),
        "locale": locale.setlocale(locale.LC_ALL),
        "priority": os.nice(0),
        "limits": [
            resource.getrlimit(getattr(resource, each))
            for each in dir(resource)
            if each.startswith("RLIMIT_")
        ],
        "group": os.getpgrp() == os.getpid(),
        "module": hasattr(sys.modules["casflow.config"], "left"),
    }
    file = pathlib.Path(FILE)
    file.write_text(json.dumps([os.getpid(), random.random(), state]))
"""
MISCHIEF = """
    import threading
    sys.modules["hostile"] = sys
    sys.modules["casflow.config"].left = True
    os.environ.clear()
    os.environ["HOSTILE"] = "1"
    os.chdir("/")
    os.umask(0o77)
    for _ in range(20):
        os.open("/dev/null", os.O_RDONLY)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    random.seed(1)
    sys.path.insert(0, "/hostile")
    pathlib.Path.home = "hostile"
    logging.getLogger("hostile").addHandler(logging.StreamHandler())
    sys.setrecursionlimit(5000)
    gc.disable()
    os.nice(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
    os.dup2(os.open("/dev/zero", os.O_RDONLY), 0)
    threading.Thread(target=lambda: None, daemon=True).start()
"""
PROCESS = """
    import os, pathlib, time
    pathlib.Path(FILE).write_text(pathlib.Path("/proc/self/cmdline").read_text())
"""


def _writing(code: str, file: Path) -> str:
    return code.replace("FILE", repr(str(file)))


def test_a_hostile_run_leaves_nothing_to_the_next(house: House) -> None:
    house.ask()  # so that all of the others are warm
    files = [house.folder / f"state-{number}" for number in range(3)]
    runs = [house.ask(_writing(STATE, file) + MISCHIEF) for file in files]
    house.work()
    assert {house.registry.get_run(run.id).message for run in runs} == {"All tasks succeeded"}
    first, *others = (json.loads(file.read_text()) for file in files)
    assert len({pid for pid, _, _ in (first, *others)}) == 3
    assert len({number for _, number, _ in (first, *others)}) == 3
    for _, _, state in others:
        assert state == first[2]
    assert first[2]["threads"] == 1
    assert first[2]["input"] == "/dev/null"


@pytest.mark.parametrize(("fork", "module"), [(True, "forkserver"), (False, "execute")])
def test_a_run_is_forked_unless_the_agent_shall_not(house: House, fork: bool, module: str) -> None:
    house.ask(_writing(PROCESS, house.folder / "said"))
    house.work(fork=fork)
    assert f"casflow.agents.{module}" in (house.folder / "said").read_text()


def test_who_kills_the_fork_server_is_run_again_in_an_interpreter_of_its_own(house: House) -> None:
    file = house.folder / "said"
    run = house.ask(f"""
        import os, pathlib, signal, time
        command = pathlib.Path("/proc/self/cmdline").read_text()
        if "forkserver" in command:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)
        pathlib.Path({str(file)!r}).write_text(command)
    """)
    after = house.ask()
    house.work()
    done = house.registry.get_run(run.id)
    assert (done.state, done.attempt, done.losses) == (RunState.SUCCESS, 2, 0)
    assert "casflow.agents.execute" in file.read_text()
    assert house.registry.get_run(after.id).state == RunState.SUCCESS


def test_the_fork_server_ends_with_its_agent(house: House) -> None:
    file = house.folder / "parent"
    agent = house.start()
    run = house.ask(f"""
        import os, pathlib
        pathlib.Path({str(file)!r}).write_text(str(os.getppid()))
    """)
    house.wait(run, RunState.SUCCESS)
    assert file.read_text() != str(agent.pid)
    agent.kill()
    house.until(lambda: not Path("/proc", file.read_text(), "exe").exists())


def test_a_run_that_takes_too_long_is_stopped_and_fails(house: House) -> None:
    run = house.ask("import time; time.sleep(600)")
    house.work(timeout=0.5)
    done = house.registry.get_run(run.id)
    assert done.message.endswith("it ran longer than 0.5 s")
    assert (done.state, done.attempt) == (RunState.FAILED, 1)


def test_only_modules_that_leave_no_trace_are_loaded_before_a_run(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = house.folder / "modules"
    folder.mkdir()
    (folder / "tidy.py").write_text("value = 1\n")
    (folder / "threads.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=[600], daemon=True).start()\n"
    )
    (folder / "moves.py").write_text("import os; os.chdir('/')\n")
    (folder / "breaks.py").write_text("raise ValueError\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    names = ["tidy", "threads", "moves", "breaks", "absent_module"]
    fork_client = ForkClient()
    assert fork_client.is_ready(60)
    fork_client.load(names)
    file = house.folder / "loaded"
    said = f"""
        import sys, pathlib
        pathlib.Path({str(file)!r}).write_text(str(set({names}) & set(sys.modules)))
    """
    seen = "set()"
    deadline = time.monotonic() + 60
    while seen == "set()" and time.monotonic() < deadline:
        process = house.fork(house.ask(said), fork_client)
        house.until(lambda process=process: process.exit_code() is not None)
        seen = file.read_text()
    fork_client.close()
    assert seen == "{'tidy'}"


def test_a_signal_reaches_a_forked_run_and_its_end_is_reported(
    house: House, fork_client: ForkClient
) -> None:
    process = house.fork(house.ask("import time; time.sleep(600)"), fork_client)
    assert process.exit_code() is None
    process.stop(0)
    house.until(lambda: process.exit_code() is not None)
    assert process.exit_code() in (-signal.SIGTERM, -signal.SIGKILL)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_run_of_a_fork_server_that_died_goes_back_to_the_queue(
    house: House, fork_client: ForkClient
) -> None:
    process = house.fork(house.ask("import time; time.sleep(600)"), fork_client)
    os.kill(fork_client._process.pid, signal.SIGKILL)
    house.until(lambda: process.exit_code() is not None)
    assert process.was_stopped
    house.until(lambda: not Path("/proc", str(process.pid), "exe").exists())
    with pytest.raises(OSError, match=r"Broken pipe|Bad file|gone"):
        fork_client.take()


def test_a_registered_flow_is_in_the_cache_before_it_runs_and_its_modules_are_loaded(
    house: House,
) -> None:
    house.start(poll=0.2)
    house.until(house.registry.agents)
    script = house.folder / "late.py"
    script.write_text(
        "import pydantic\nfrom casflow import Flow\nwith Flow('late') as flow:\n    pass\n"
    )
    flow = flow_from_script(script.read_bytes(), path=str(script))
    flow.storage = Local(path=script, stored_as_script=True)
    digest = register(flow).digest
    cached = house.folder / "cache" / "blobs" / digest[7:9] / digest[7:]
    cached.unlink(missing_ok=True)  # if registering put it there
    version = house.registry.get_version(None, "late")
    house.registry.add_version(
        project=None,
        flow="later",
        digest=version.digest,
        storage={
            **version.storage,
            "flows": {"later": version.location},
            "references": {"later": {**version.storage["references"]["late"]}},
        },
        reference=version.reference,
        labels=version.labels,
        location=version.location,
    )
    house.until(cached.exists)
    file = house.folder / "loaded"

    def is_loaded() -> bool:
        run = house.ask(f"""
            import sys, pathlib
            pathlib.Path({str(file)!r}).write_text(str("pydantic" in sys.modules))
        """)
        house.wait(run, RunState.SUCCESS)
        return file.read_text() == "True"

    house.until(is_loaded)
