"""The lines that an engine sends while it builds, pulls or pushes.

Owns their reading, for progress and for what failed. Invariant: a line of an unknown kind is
passed over; a line that names an error ends the work with the error that it stands for.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from casflow.errors import (
    AccessError,
    CasflowError,
    ConfigError,
    NotFoundError,
    TransferError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_REFUSED = re.compile(
    r"unauthorized|denied|authentication required|no basic auth|forbidden|HTTP 40[13]",
    re.IGNORECASE,
)
_ABSENT = re.compile(r"not found|manifest unknown|does not exist|no such image", re.IGNORECASE)
_OF_ENGINE = re.compile(r"Step \d| *--->|Removing intermediate")
_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_FULL = re.compile(r"no space left|disk quota exceeded", re.IGNORECASE)


def read_stream(lines: Iterable[Any], show: Callable[[str], None]) -> dict[str, Any]:
    """Show an engine's lines; return what it said aside, and under `error` what failed.

    Under `said` is the last line of what a step itself wrote, which tells why it failed.
    """
    result: dict[str, Any] = {"said": ""}
    for line in lines:
        if not isinstance(line, dict):
            continue
        if line.get("error") or line.get("errorDetail"):
            result["error"] = _error_in(line)
        if isinstance(line.get("aux"), dict):
            result |= line["aux"]
        text = _progress_line(line)
        if text:
            show(text)
        if "stream" in line:
            result["said"] = _last_output(text, result["said"])
    return result


def _last_output(text: str, before: str) -> str:
    """Return the last line that a step wrote, or the one that says more than what follows it."""
    if not text.strip() or _OF_ENGINE.match(text) or _FULL.search(before):
        return before
    lines = text.strip().splitlines()
    return next(filter(_FULL.search, lines), lines[-1])


def _error_in(line: Mapping[str, Any]) -> str:
    detail = line.get("errorDetail") or {}
    return str(line.get("error") or detail.get("message") or "unknown error").strip()


def _progress_line(line: Mapping[str, Any]) -> str:
    if "stream" in line:
        return _COLOUR.sub("", str(line["stream"])).rstrip()
    if "status" in line:
        parts = (line.get("id"), line["status"], line.get("progress"))
        return " ".join(str(part) for part in parts if part)
    return str(line.get("message") or "").rstrip()


def show_on_terminal(text: str) -> None:
    """Show progress on standard error, if that is a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")


def transfer_error(reason: str, where: object) -> CasflowError:
    """Return the error for a pull or a push that failed."""
    if _FULL.search(reason):
        return _full(where)
    if _REFUSED.search(reason):
        hint = "run `docker login` for the registry"
        return AccessError(f"the registry refused it ({reason})", where=where, hint=hint)
    if _ABSENT.search(reason):
        return NotFoundError(f"the registry does not have it ({reason})", where=where)
    return TransferError(f"the transfer broke off ({reason})", where=where, hint="try again")


def build_error(reason: str, where: object) -> CasflowError:
    """Return the error for a build that failed."""
    if _FULL.search(reason):
        return _full(where)
    return ConfigError(f"Your docker image failed to build! {reason}", where=where)


def _full(where: object) -> UnavailableError:
    what = "the Docker engine's disk is full"
    return UnavailableError(what, where=where, hint="make room and try again")
