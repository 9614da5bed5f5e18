"""How many examples the tests with random input take.

Owns the one number that makes such a test short or thorough: all examples with `--full`, a few
without. Invariant: with `--full` a test takes no fewer than it asks for.
"""

from __future__ import annotations

import os

FULL = "CASFLOW_TEST_FULL"  # set by `--full`, also for the processes that tests start


def examples(count: int, *, few: int | None = None) -> int:
    """Return how many examples to take.

    Args:
        count: How many with `--full`.
        few: How many without; an eighth when left out.
    """
    if os.environ.get(FULL) == "1":
        return count
    return few or max(count // 8, 5)
