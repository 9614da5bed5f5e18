"""Which distribution a module or a file was installed with.

Owns what is read of this Python's installed distributions. Invariant: the answers are those of the
folders that distributions are installed in, and of the links that they are installed as; a folder
is not one of packages by its name alone.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

_SITE = re.compile(rf"({re.escape(os.sep)}(?:site|dist)-packages)(?={re.escape(os.sep)})")
_DISTRIBUTION = {".dist-info", ".egg-info", ".pth"}


@lru_cache(maxsize=512)
def distribution_of(module: str) -> str | None:
    """Return `name==version` of the distribution that a top-level module belongs to, else None."""
    found = _by_name(module) or _by_listing(module) or _by_editable(module)
    return f"{found.name}=={found.version}" if found is not None else None


def _by_name(module: str) -> metadata.Distribution | None:
    """Try the distribution of the same name: a listing of all takes many times as long."""
    try:
        found = metadata.distribution(module)
    except (metadata.PackageNotFoundError, ValueError):
        return None
    file = file_of(sys.modules.get(module))
    folder = Path(str(found.locate_file(""))).resolve()
    return found if file is None or file.is_relative_to(folder) else None


def _by_listing(module: str) -> metadata.Distribution | None:
    names = _listing().get(module)
    return metadata.distribution(min(names)) if names else None


@lru_cache(maxsize=1)
def _listing() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _by_editable(module: str) -> metadata.Distribution | None:
    """Find the distribution that was installed as a link to the folder of a module."""
    file = file_of(sys.modules.get(module))
    if file is None:
        return None
    return next((each for each, folder in _editable() if file.is_relative_to(folder)), None)


@lru_cache(maxsize=1)
def _editable() -> list[tuple[metadata.Distribution, Path]]:
    import json

    found = []
    for each in metadata.distributions():
        origin = json.loads(each.read_text("direct_url.json") or "{}")
        if origin.get("dir_info", {}).get("editable"):
            found.append((each, Path(unquote(urlsplit(origin["url"]).path))))
    return found


@lru_cache(maxsize=1024)
def is_editable(file: Path) -> bool:
    """Tell whether a file is in a folder that a distribution was installed from as a link."""
    return any(file.is_relative_to(folder) for _, folder in _editable())


def is_installed(file: str) -> bool:
    """Tell whether a file is one of the standard library or of an installed distribution."""
    if file.startswith(_standard_library()):
        return True
    parts = _SITE.split(file)  # text and names of folders in turn
    sites = ("".join(parts[: at + 1]) for at in range(1, len(parts), 2))
    return any(map(holds_distributions, sites))


@lru_cache(maxsize=512)
def holds_distributions(folder: str) -> bool:
    """Tell whether a folder is one of installed packages: its name alone does not make it one."""
    try:
        return any(each.suffix in _DISTRIBUTION for each in Path(folder).iterdir())
    except OSError:
        return False


def file_of(module: ModuleType | None) -> Path | None:
    """Return the file that a module was read from, if it was read from one."""
    file = getattr(module, "__file__", None)
    return _resolved(file) if isinstance(file, str) else None


@lru_cache(maxsize=4096)
def _resolved(file: str) -> Path:
    return Path(file).resolve()


@lru_cache(maxsize=1)
def _standard_library() -> str:
    return str(Path(sysconfig.get_path("stdlib")).resolve()) + os.sep
