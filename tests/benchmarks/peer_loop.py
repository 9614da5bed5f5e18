"""What every peer that keeps bytes does: `store` and `get`, asked for by one JSON list a line.

Runs in a peer's own environment, so it imports nothing of casflow. `["store", size, seed]` keeps
the pickle of so many bytes, `["get"]` reads and unpickles what was kept last; both answer with the
seconds that it took, or with null when the peer cannot.
"""

import json
import pickle
import random
import sys
import time


def serve(store, get):
    """Answer questions by `store(data)`, which returns a key, and `get(key)`."""
    key = None
    for line in sys.stdin:
        verb, *numbers = json.loads(line)
        if verb == "store":
            size, seed = numbers
            data = pickle.dumps(random.Random(seed).randbytes(size))
            started = time.perf_counter()
            key = store(data)
        else:
            started = time.perf_counter()
            pickle.loads(get(key))
        print(json.dumps(time.perf_counter() - started), flush=True)
