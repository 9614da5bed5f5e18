"""Prefect 1.4.1's `Local` storage, as a process that is asked: `[verb, argument]` a line.

Runs in an environment of its own, so it imports nothing of casflow. `store` keeps a flow with so
many bytes of payload and returns its location; `get` returns the seconds that `get_flow` took.
"""

import json
import random
import sys
import time

from prefect import Flow, task
from prefect.storage import Local


def store(folder, size):
    payload = random.Random(size).randbytes(size)

    @task
    def give():
        return len(payload)

    with Flow(f"Payload {size}") as flow:
        give()
    storage = Local(directory=folder)
    return storage.add_flow(flow)


def get(folder, name, location):
    storage = Local(directory=folder, validate=False)
    storage.flows[name] = location
    started = time.perf_counter()
    storage.get_flow(name)
    return time.perf_counter() - started


VERBS = {"store": store, "get": get}

for line in sys.stdin:
    verb, *arguments = json.loads(line)
    print(json.dumps(VERBS[verb](*arguments)), flush=True)
