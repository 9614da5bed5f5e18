"""The tests that failed in the last run: `python -m tests.failed`, one a line."""

from __future__ import annotations

import json
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".pytest_cache" / "v" / "cache" / "lastfailed"

if __name__ == "__main__":
    print(*json.loads(CACHE.read_text()) if CACHE.is_file() else (), sep="\n")
