"""A flow of Prefect 1.4.1 as its local agent starts it: `store FOLDER`, `run FOLDER PLACE MARK`.

Runs in an environment of its own, so it imports nothing of casflow. `store` prints where it put the
flow; `run` is the process of one run, which reads the flow and runs it.
"""

import sys

from prefect import Flow, Parameter, task
from prefect.storage import Local

NAME = "Mark"


def store(folder):
    @task
    def mark(path):
        import os
        import time
        from pathlib import Path

        mine = Path(f"{path}.{os.getpid()}")
        mine.write_text(str(time.perf_counter()), encoding="utf-8")
        mine.rename(path)

    with Flow(NAME) as flow:
        mark(Parameter("path"))
    print(Local(directory=folder).add_flow(flow))


def run(folder, place, path):
    storage = Local(directory=folder, validate=False)
    storage.flows[NAME] = place
    storage.get_flow(NAME).run(parameters={"path": path})


{"store": store, "run": run}[sys.argv[1]](*sys.argv[2:])
