"""Many processes that start from one branch at once."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

PROGRAM = """
    import json, sys
    from casflow.storage import load
    sys.stdin.readline()
    opened = load(json.loads(sys.argv[1])).open_flow("my-flow")
    print(opened.flow.mark, opened.reference.environment["commit"])
"""
PROCESSES = 30


def test_thirty_processes_download_once(open_world):
    world = open_world("github")
    commit = world.commit("one")
    form = world.register()
    world.use("second")
    world.host.forget()
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), json.dumps(form)]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    said = [child.communicate(timeout=120)[0] for child in children]
    assert said == [f"one {commit}\n"] * PROCESSES
    downloads = [each for each in world.host.log if "/contents/" in each.target]
    assert len(downloads) == 1
    assert len(world.host.log) == PROCESSES + 1
