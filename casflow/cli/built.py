"""The file of `casflow build`: which flows are stored where, as JSON.

Owns its format. Invariant: it holds neither code nor secrets, and what is read of it is of the type
that it must have.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from casflow.errors import IntegrityError, os_errors
from casflow.files import read_whole
from casflow.registry import check_labels
from casflow.storage.plugins import load

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from casflow.storage.base import Storage

FORMAT = 1


def form_of(name: str, storage: Storage, labels: Iterable[str]) -> dict[str, Any]:
    """Return what the file says of a flow that a storage holds."""
    return {"name": name, "labels": list(labels), "storage": storage.serialize(only=name)}


def write_built(path: Path, built: dict[str, dict[str, Any]]) -> None:
    """Write the file.

    Args:
        path: The file.
        built: What it says of each flow, by name.
    """
    flows = [built[name] for name in sorted(built)]
    with os_errors(path):
        path.write_text(json.dumps({"version": FORMAT, "flows": flows}, indent=2) + "\n")


def read_built(path: Path) -> list[tuple[str, Storage, tuple[str, ...]]]:
    """Return the flows that a file of `casflow build` names, with their storages and labels.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: It is none of `casflow build`.
    """
    with os_errors(path):
        data = read_whole(path)
    try:
        form: Any = json.loads(data)
        found = [_read(each) for each in {FORMAT: form["flows"]}[form["version"]]]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        what = f"not a file of `casflow build` ({type(error).__name__}: {error})"
        raise IntegrityError(what, where=path) from error
    return found


def _read(form: Any) -> tuple[str, Storage, tuple[str, ...]]:
    name, storage = str(form["name"]), load(form["storage"])
    if name not in storage.references:
        raise ValueError(f"the storage of {name!r} holds no such flow")
    storage.add_default_labels = False  # those of the machine that stored it are in the file
    return name, storage, check_labels(form["labels"])
