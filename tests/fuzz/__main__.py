"""`uv run python -m tests.fuzz DOOR... --seconds N`: feed hostile bytes to doors, all by default.

Prints what was fed and the first input of each kind that got through, as Python writes it; exits
with 1 when there is any, or when memory went beyond its bound.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from casflow.errors import CasflowError
from tests.fuzz.doors import DOORS, HOSTILE, Door

if TYPE_CHECKING:
    from collections.abc import Sequence

_HANG = 10  # seconds
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
    signal.alarm(_HANG)
    try:
        door.read(data)
    except CasflowError as error:
        line = str(error)
        return f"exit 1: {line}" if error.exit_code == 1 else None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
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
    signal.signal(signal.SIGALRM, _hangs)
    found = [run(name, options.seconds, options.seed) for name in options.doors or DOORS]
    return 1 if any(found) else 0


def _hangs(*_: object) -> None:
    raise AssertionError(f"no answer for {_HANG} s")


if __name__ == "__main__":
    sys.exit(main())
