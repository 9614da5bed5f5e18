"""Prefect 1.4.1's `S3` storage, as a process that is asked: `[verb, argument...]` a line.

Runs in an environment of its own, so it imports nothing of casflow. `register` stores a flow with
so many bytes of payload, as each registration of the original does, and `get` reads it back; both
return seconds.
"""

import json
import sys
import time

from prefect.storage import S3
from prefect_flows import payload_flow

FLOWS = {}


def register(bucket, size):
    if size not in FLOWS:
        FLOWS[size] = payload_flow(size), None
    flow = FLOWS[size][0]
    storage = S3(bucket=bucket)
    started = time.perf_counter()
    storage.add_flow(flow)
    storage.build()
    seconds = time.perf_counter() - started
    FLOWS[size] = flow, storage
    return seconds


def get(size):
    flow, storage = FLOWS[size]
    started = time.perf_counter()
    storage.get_flow(flow.name)
    return time.perf_counter() - started


VERBS = {"register": register, "get": get}

for line in sys.stdin:
    verb, *arguments = json.loads(line)
    print(json.dumps(VERBS[verb](*arguments)), flush=True)
