"""Flows out of a script or a module that a command names.

Owns what a script may import while it is read: what stands beside it, as when Python runs it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from casflow.errors import ConfigError, os_errors
from casflow.flow.script import flows_in_module, flows_in_script, pick

if TYPE_CHECKING:
    from collections.abc import Iterable

    from casflow.flow import Flow


def read_flows(path: Path | None, module: str | None) -> dict[str, Flow]:
    """Return the flows of a script or of a module, whichever is named.

    Raises:
        ConfigError: Both are named, or none.
        CasflowError: There are no flows to be had.
    """
    if (path is None) == (module is None):
        raise ConfigError("name either a script with --path or a module with --module")
    if path is None:
        sys.path.insert(0, str(Path.cwd()))
        return flows_in_module(str(module))
    path = path.absolute()
    with os_errors(path):
        data = path.read_bytes()
    sys.path.insert(0, str(path.parent))
    return flows_in_script(data, path=str(path))


def choose(flows: dict[str, Flow], names: Iterable[str], where: object) -> list[Flow]:
    """Return the flows of some names, or all.

    Raises:
        FlowNotFoundError: There is no flow of one of the names, or none at all.
    """
    what = "file" if isinstance(where, Path) else "module"
    found = [pick(flows, name, what=what, where=str(where)) for name in names]
    if not flows:
        pick(flows, None, what=what, where=str(where))
    return found or list(flows.values())
