"""The report of a run: its process writes it for its agent, who alone writes to the registry.

Owns the file that it is written to, which has no name. Invariant: a report is read as a whole or
not at all, and whatever else a flow may have written there is no report.
"""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from casflow.registry import RunState

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_BYTES = 1 << 24  # bytes


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended.

    Attributes:
        state: A final state.
        message: One line on why.
        outcome: What was measured, any JSON.
    """

    state: RunState
    message: str
    outcome: Mapping[str, Any]

    def write(self, descriptor: int) -> None:
        """Write it to an open descriptor."""
        data = json.dumps(asdict(self)).encode()
        while data:
            data = data[os.write(descriptor, data) :]


class ReportFile:
    """An empty file without a name, for the report of one process.

    Raises:
        OSError: There is no room for it.
    """

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._descriptor

    def find(self) -> Report | None:
        """Return the report, or None while there is none."""
        data = os.pread(self._descriptor, _MAX_BYTES, 0)
        try:
            report = Report(**json.loads(data, parse_constant=_refuse))
            is_fit = RunState(report.state).is_final and isinstance(report.message, str)
        except (ValueError, TypeError, RecursionError):
            return None
        return report if is_fit and isinstance(report.outcome, dict) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
