"""What a policy costs: warm reads of what is signed, with the policy on and off, in one process.

Run it as `uv run python -m tests.benchmarks.bench_signing`.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import casflow
from casflow.registration import register
from casflow.registry import Registry
from casflow.storage import load
from tests.benchmarks.bench_warm import payload_flow
from tests.benchmarks.measure import Table, interleaved, medians, milliseconds, options, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    Clock = Callable[..., Callable[[], float]]

COLUMNS = ("what is read, warm", "without a policy", "under a policy", "more", "more, of the CPU")
NOTE = """\
Both sides make no request. Under the policy the name must be signed; that it is was checked once,
and is remembered in the cache until the trusted keys change."""
TIMES = 200


def signed(home: Path) -> dict[str, Callable[[], object]]:
    """Return ways to read what is signed by a key that this home trusts."""
    key = home / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text()
    (home / "allowed_signers").write_text(f"anna {public}")
    flow = payload_flow(10_000)
    register(flow, sign=str(key))
    with Registry(casflow.config.load().registry) as registry:
        form = registry.get_version(None, flow.name).storage
    (home / "tree").mkdir()
    (home / "tree" / "main.py").write_text("print('hello')\n")
    store = casflow.Store(home / "store")
    version = store.push(home / "tree", "etl", sign=str(key))
    ref = f"etl@{version.digest}"
    return {
        "a flow, by `get_flow`": lambda: load(form).get_flow(flow.name),
        "a tree, by `Store.checkout` of a digest": lambda: store.checkout(ref),
    }


def on_processor(work: Callable[[], object], *, times: int) -> Callable[[], float]:
    """Return a contestant like `timed`, but by the time of the processor."""

    def once() -> float:
        started = time.process_time()
        for _ in range(times):
            work()
        return (time.process_time() - started) / times

    return once


def under(policy: str, work: Callable[[], object], clock: Clock = timed) -> Callable[[], float]:
    """Return a contestant that works under a policy."""
    often = clock(work, times=TIMES)

    def once() -> float:
        os.environ["CASFLOW_REQUIRE"] = policy
        work()  # the settings are read again where they changed
        return often()

    return once


def price(rounds: int, home: Path) -> Table:
    """Measure warm reads on both sides."""
    table = Table("signing", "Warm reads under a policy", COLUMNS, [NOTE])
    for name, work in signed(home).items():
        subjects = {
            "off": under("", work),
            "on": under("*", work),
            "off, processor": under("", work, on_processor),
            "on, processor": under("*", work, on_processor),
        }
        took = medians(interleaved(subjects, rounds=rounds))
        more = took["on"] - took["off"], took["on, processor"] - took["off, processor"]
        table.add(name, *map(milliseconds, (took["off"], took["on"], *more)))
    return table


def main() -> None:
    """Measure everything in a home of its own."""
    quick = options("Warm reads under a policy.").quick
    with tempfile.TemporaryDirectory(prefix="casflow-benchmark-") as home:
        os.environ["CASFLOW_HOME"] = home
        price(5 if quick else 40, Path(home)).report()


if __name__ == "__main__":
    main()
