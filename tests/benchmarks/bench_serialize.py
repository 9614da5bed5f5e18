"""Times and peak memory of casflow's serialiser against plain cloudpickle, in one run.

Prints a Markdown table and writes the ratios as JSON:

    python tests/benchmarks/bench_serialize.py [ratios.json] [--memory MiB]
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import pickle
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from casflow.serialize import deserialize, dumps, serialize  # noqa: E402


def small(rows, limit=3):
    """Keep small rows."""
    return [row for row in rows if row < limit]


class Task:
    """One step."""

    def __init__(self, function, name, tags=()):
        self.function, self.name, self.tags = function, name, set(tags)

    def run(self, *args):
        """Run it."""
        return self.function(*args)


class Retrying(Task):
    """One step that is tried again."""

    retries = 3

    def run(self, *args):
        """Run it up to three times."""
        for _ in range(self.retries):
            try:
                return super().run(*args)
            except ValueError:
                continue
        raise RuntimeError(self.name)


class Flow:
    """Tasks and edges."""

    def __init__(self, count, ordered=True):
        self.name = f"flow of {count}"
        self.tasks = [
            Retrying(step(n), f"task {n}", {"all", f"group {n % 5}"}) for n in range(count)
        ]
        edges = list(zip(self.tasks, self.tasks[1:], strict=False))
        self.edges = edges if ordered else set(edges)
        if not ordered:
            self.tasks = set(self.tasks)


def step(number):
    """Return a function of its own."""

    def run(value):
        return value * number

    return run


def big(array):
    """Return a function over an array."""
    return functools.partial(lambda data: data.sum(), array)


def payloads():
    """Return the payloads by name."""
    return {
        "function": small,
        "classes": [Task, Retrying, Flow],
        "flow of 1 task": Flow(1),
        "flow of 25 tasks": Flow(25),
        "flow of 200 tasks": Flow(200),
        "flow of 200 tasks in sets": Flow(200, ordered=False),
        "set of 100,000 strings": {f"string {n}" for n in range(100_000)},
        "list of 100,000 dicts": [{"id": n, "name": f"n{n}"} for n in range(100_000)],
        "list of 1,000,000 integers": list(range(1_000_000)),
        "function and 100 MB array": big(np.arange(12_500_000, dtype="f8")),
    }


def best(function, *args, **kwargs):
    """Return the least processor time of some calls, in milliseconds."""
    times = []
    deadline = time.process_time() + 1.5
    while len(times) < 3 or (time.process_time() < deadline and len(times) < 300):
        start = time.process_time()
        function(*args, **kwargs)
        times.append(time.process_time() - start)
    return 1000 * min(times)


def measure(obj):
    """Return the times of one payload, in milliseconds, and the sizes of its blobs."""
    plain, ours = cloudpickle.dumps(obj), serialize(obj)
    gc.collect()
    return {
        "plain": best(cloudpickle.dumps, obj),
        "dumps": best(dumps, obj),
        "serialize": best(serialize, obj),
        "plain loads": best(pickle.loads, plain),
        "loads": best(pickle.loads, ours.data),
        "with map": best(deserialize, ours.data, attachments=ours.attachments),
        "plain bytes": len(plain),
        "bytes": len(ours.data),
    }


PEAK = """
import resource, sys
sys.path.insert(0, {root!r})
import cloudpickle, numpy
from casflow.serialize import dumps
array = numpy.ones({mib} << 17)
data = ({call})((lambda: array.sum(),))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / ({mib} << 20))
"""


def peak(call, mib):
    """Return the peak memory of a process that serialises an array, in sizes of the array."""
    code = PEAK.format(root=str(ROOT), mib=mib, call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main():
    """Measure, print the table and write the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--memory", type=int, default=1024)
    options = parser.parse_args()
    ratios = {}
    print(
        "| payload | plain ms | canonical ms | ratio | plain loads ms | loads | with map | size |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, obj in payloads().items():
        found = measure(obj)
        ratios[name] = {
            "dumps": found["dumps"] / found["plain"],
            "serialize": found["serialize"] / found["plain"],
            "loads": found["loads"] / found["plain loads"],
            "with map": found["with map"] / found["plain loads"],
            "size": found["bytes"] / found["plain bytes"],
        }
        row = ratios[name]
        print(
            f"| {name} | {found['plain']:.3f} | {found['dumps']:.3f} | {row['dumps']:.1f}"
            f" | {found['plain loads']:.3f} | {row['loads']:.2f} | {row['with map']:.2f}"
            f" | {row['size']:.2f} |",
            flush=True,
        )
    memory = {name: peak(name, options.memory) for name in ("cloudpickle.dumps", "dumps")}
    ratios["peak memory"] = memory
    print(f"\nPeak memory for an array of {options.memory} MiB, in sizes of the array:")
    print(", ".join(f"{name} {value:.2f}" for name, value in memory.items()))
    if options.out:
        options.out.write_text(json.dumps(ratios, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
