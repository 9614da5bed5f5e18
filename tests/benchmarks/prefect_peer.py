"""Prefect 1.4.1's `Local` storage, as a process that is asked: `[verb, argument]` a line.

Runs in an environment of its own, so it imports nothing of casflow. `store` keeps a flow with so
many bytes of payload and returns its location; `get` returns the seconds that `get_flow` took.
"""

import json
import sys
import time

from prefect.storage import Local
from prefect_flows import payload_flow


def store(folder, size):
    return Local(directory=folder).add_flow(payload_flow(size))


def add(folder, size):
    flow = payload_flow(size)
    storage = Local(directory=folder)
    started = time.perf_counter()
    storage.add_flow(flow)
    return time.perf_counter() - started


def get(folder, name, location):
    storage = Local(directory=folder, validate=False)
    storage.flows[name] = location
    started = time.perf_counter()
    storage.get_flow(name)
    return time.perf_counter() - started


VERBS = {"store": store, "add": add, "get": get}

for line in sys.stdin:
    verb, *arguments = json.loads(line)
    print(json.dumps(VERBS[verb](*arguments)), flush=True)
