"""What every test can ask for: a home of casflow, and the servers of `tests/services/`."""

from __future__ import annotations

pytest_plugins = ["tests.home", "tests.services.fixtures"]
