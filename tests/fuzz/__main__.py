"""`uv run python -m tests.fuzz DOOR... --seconds N`: feed hostile bytes to doors, all by default.

Several doors are fed side by side, each in a process of its own. Prints what was fed and the first
input of each kind that got through, as Python writes it; exits with 1 when there is any, or when
memory went beyond its bound.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from casflow.errors import CasflowError
from tests.fuzz.doors import DOORS, HOSTILE, Door

if TYPE_CHECKING:
    from collections.abc import Sequence

_HANG = 10  # seconds of work for one input
_STANDSTILL = 120  # seconds until one that does not work counts as hanging, beside others
_MOST_MEMORY = 300  # MiB


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return some bytes with a few things in them changed."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        to = min(len(data), at + rng.choice((0, 1, 1, 4, 30)))
        piece = rng.choice(
            (
                b"",
                bytes([rng.randrange(256)]),
                rng.choice(HOSTILE),
                data[: rng.randrange(len(data) + 1)],
                str(rng.choice((0, -1, 2**31, 2**63, 2**64, 10**30))).encode(),
            )
        )
        data = data[:at] + piece + data[to:]
    return data[: 1 << 20]


def feed(door: Door, data: bytes) -> str | None:
    """Feed bytes to a door; return what got through that should not, or None."""
    signal.setitimer(signal.ITIMER_PROF, _HANG)
    signal.alarm(_STANDSTILL)
    try:
        door.read(data)
    except CasflowError as error:
        line = str(error)
        return f"exit 1: {line}" if error.exit_code == 1 else None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def run(name: str, seconds: float, seed: int) -> dict[str, bytes]:
    """Feed one door for so many seconds; return the first input of each kind that got through."""
    rng, door = random.Random(seed), DOORS[name]
    found: dict[str, bytes] = {}
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutate(rng.choice(door.examples), rng)
        wrong = feed(door, data)
        count += 1
        if wrong is not None:
            found.setdefault(wrong[:60], data)
    memory = _peak_memory()
    print(f"{name}: {count} inputs, {len(found)} kinds got through, {memory} MiB")
    for wrong, data in found.items():
        print(f"  {wrong!r}: {data[:300]!r}")
    if memory > _MOST_MEMORY:
        found["memory"] = b""
    return found


def _peak_memory() -> int:
    """Return this program's peak in MiB; what getrusage says counts from before exec."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    (line,) = (each for each in status.read_text().splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Feed the doors that are named; return 1 when anything got through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("doors", nargs="*", choices=[*DOORS, []], metavar="DOOR")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    doors = options.doors or list(DOORS)
    if len(doors) > 1:
        return _side_by_side(doors, options.seconds, options.seed)
    watch_for_hangs()
    return 1 if run(doors[0], options.seconds, options.seed) else 0


def _side_by_side(doors: Sequence[str], seconds: float, seed: int) -> int:
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", str(seconds), "--seed", str(seed)]
    fed = [subprocess.Popen([*command, each]) for each in doors]
    return max(each.wait() and 1 for each in fed)


def watch_for_hangs() -> None:
    """Let an input that takes too long be one that got through."""
    signal.signal(signal.SIGALRM, _hangs)
    signal.signal(signal.SIGPROF, _hangs)


def _hangs(*_: object) -> None:
    raise AssertionError(f"no answer for {_HANG} s of work, or {_STANDSTILL} s at all")


if __name__ == "__main__":
    sys.exit(main())
