"""The registry: who registered what, and which runs wait.

Owns the database of projects, flows, versions, runs and agents, SQLite by default and PostgreSQL
by URL. Invariant: it holds references, never code, and no secret; what two processes do at the
same moment happens one after the other. Its records alone are to be had without SQLAlchemy, which
takes longer to import than most flows to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from casflow.lazy import lazily
from casflow.registry.records import (
    DEFAULT_PROJECT,
    MAX_SKEW,
    SCHEMA,
    Agent,
    Run,
    RunAttempt,
    RunState,
    Version,
    check_labels,
    check_parameters,
    check_project,
    message_line,
)

if TYPE_CHECKING:
    from casflow.registry.overview import Overview
    from casflow.registry.registry import Registry
    from casflow.registry.runs import MAX_LOSSES
    from casflow.registry.watch import Watch

__all__ = [
    "DEFAULT_PROJECT",
    "MAX_LOSSES",
    "MAX_SKEW",
    "SCHEMA",
    "Agent",
    "Overview",
    "Registry",
    "Run",
    "RunAttempt",
    "RunState",
    "Version",
    "Watch",
    "check_labels",
    "check_parameters",
    "check_project",
    "message_line",
]

__getattr__ = lazily(
    __name__,
    {
        "MAX_LOSSES": "casflow.registry.runs",
        "Overview": "casflow.registry.overview",
        "Registry": "casflow.registry.registry",
        "Watch": "casflow.registry.watch",
    },
)
