"""Many processes that start from one branch at once."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections import Counter

import pytest

from tests.sources.conftest import REMOTE

# They are forked from one, so that they start together, not as fast as Python is loaded 30 times.
PROGRAM = """
    import json, multiprocessing, sys
    from casflow.storage import load

    def run(form, gate, said):
        gate.wait(60)
        opened = load(form).load_flow("my-flow")
        said.put([opened.flow.mark, opened.reference.environment["commit"]])

    form, count = json.loads(sys.argv[1]), int(sys.argv[2])
    load(form)  # imports what they all need
    fork = multiprocessing.get_context("fork")
    gate, said = fork.Barrier(count), fork.SimpleQueue()
    children = [fork.Process(target=run, args=(form, gate, said)) for _ in range(count)]
    for each in children:
        each.start()
    for each in children:
        each.join()
    print(json.dumps([said.get() for each in children if each.exitcode == 0]))
"""
PROCESSES = 30
FEW = ("git", "github")  # the two kinds of road; the others with --full


# What asks a path of this machine can only be counted in the process that does it.
@pytest.mark.parametrize(
    "kind",
    [each if each in FEW else pytest.param(each, marks=pytest.mark.slow) for each in REMOTE],
)
def test_thirty_processes_download_once(open_world, kind):
    world = open_world(kind)
    commit = world.commit("one")
    form = world.register()
    world.use("second")
    world.host.forget()
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), json.dumps(form), str(PROCESSES)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=250)
    assert json.loads(done.stdout) == [["one", commit]] * PROCESSES
    assert sorted(Counter(world.host.asked).values()) == [1, PROCESSES]
