"""What a check of `casflow doctor` found.

Owns the way from a check that fails to a finding. Invariant: whatever a check raises, and even if
it never comes back, it yields a finding that names what is wrong.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casflow.errors import CasflowError, from_os
from casflow.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OK, WARNING, BROKEN = "ok", "warning", "broken"
_PATIENCE = 20.0  # seconds that one check may take


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        check: What was looked at.
        status: `ok`, `warning` or `broken`.
        what: What was found.
        mend: What to do about it.
    """

    check: str
    status: str
    what: str
    mend: str | None = None


def from_error(check: str, error: Exception) -> Finding:
    """Return the finding that an error stands for."""
    if isinstance(error, OSError) and not isinstance(error, CasflowError):
        error = from_os(error, error.filename)
    if isinstance(error, CasflowError):
        where = "" if error.where is None else f": {error.where}"
        return Finding(
            check, BROKEN, redact(f"{error.what}{where}"), error.hint and redact(error.hint)
        )
    return Finding(check, BROKEN, redact(f"{type(error).__name__}: {error}"))


def run_check(check: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Return what a check finds; a failure of its own is what it found."""
    found: list[Finding] = []

    def work() -> None:
        try:
            found.extend(look())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is wrong
            found.append(from_error(check, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    if thread.is_alive():
        mend = "check the address, the network and the proxy"
        return [*found, Finding(check, BROKEN, f"no answer within {_PATIENCE:.0f} s", mend)]
    return found
