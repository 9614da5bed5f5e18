"""The checks of `casflow doctor`, in the order in which one stands on the other.

Owns what is looked at on this machine. Invariant: a check only reads, but for a file of its own
that shows whether a folder can be written to.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
import time
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

from casflow import __version__, cache, config
from casflow.cli.doctor.finding import BROKEN, OK, WARNING, Finding, from_error, run_check
from casflow.cli.doctor.places import check_places
from casflow.cli.output import size
from casflow.cli.table import plural
from casflow.errors import CasflowError, did_you_mean
from casflow.registry import MAX_SKEW, Registry
from casflow.registry.lookup import file_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from casflow.config import Config

_LITTLE_ROOM = 10**9  # bytes
_OTHER_VARIABLES = ("CASFLOW_REQUIRE_SERVICES",)
_EXTRA = re.compile(r"(?P<package>[\w.-]+).*extra == ['\"](?P<extra>[\w-]+)")
_OTHERS = 0o077  # bits of a mode that let other users in


def check_all(*, fix: bool) -> list[Finding]:
    """Return what all checks find.

    Args:
        fix: Whether permissions are mended.
    """
    found = run_check("casflow", _casflow) + run_check("variables", _variables)
    found += run_check("extras", _extras)
    try:
        settings = config.load()
    except CasflowError as error:
        return [*found, from_error("settings", error)]
    found.append(Finding("settings", OK, f"read from {_origin(settings)}"))
    home = run_check("home", partial(_home, settings))
    found += home
    if any(each.status == BROKEN for each in home):
        return found
    found += run_check("permissions", partial(_permissions, settings.home, fix=fix))
    registry = run_check("registry", partial(_registry, settings))
    found += registry
    found += run_check("cache", partial(_cache, settings))
    can_ask = registry[-1].status != BROKEN and not _is_to_be_made(settings)
    found += run_check("clock", partial(_clock, settings, can_ask=can_ask))
    found += run_check("certificates", _certificates)
    return found + check_places(settings, can_ask=can_ask)


def _casflow() -> Iterator[Finding]:
    import cloudpickle

    from casflow.serialize.compat import TESTED

    python = f"casflow {__version__}, Python {platform.python_version()}"
    if cloudpickle.__version__ in TESTED:
        yield Finding("casflow", OK, python)
        return
    what = f"{python}; cloudpickle {cloudpickle.__version__} is not a tested version"
    yield Finding("casflow", WARNING, what, f"install one of {', '.join(TESTED)}")


def _variables() -> Iterator[Finding]:
    """Find variables that look like settings and are none."""
    known = [*config.VARIABLES, *_OTHER_VARIABLES]
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith("CASFLOW_")
        and name not in known
        and not name.startswith(("CASFLOW_VALUE_", "CASFLOW_TEST_"))
    )
    for name in unknown:
        mend = did_you_mean(name, known, f"settings are {', '.join(known[1:-1])}")
        yield Finding("variables", WARNING, f"{name} is no setting", mend)
    if not unknown:
        count = sum(name in os.environ for name in config.VARIABLES[1:])
        yield Finding("variables", OK, f"{plural(count, 'setting')} of the environment")


def _origin(settings: Config) -> str:
    file = settings.home / "config.toml"
    return str(file) if file.exists() else "the environment and defaults"


def _extras() -> Iterator[Finding]:
    """Say which optional packages are there; that one is missing is wrong only where it is used."""
    wanted: dict[str, bool] = {}
    for text in metadata.requires("casflow") or ():
        match = _EXTRA.match(text)
        if match is not None:
            there = _is_installed(match["package"])
            wanted[match["extra"]] = wanted.get(match["extra"], True) and there
    names = [name for name, there in wanted.items() if there and name != "all"]
    yield Finding("extras", OK, f"installed: {', '.join(sorted(names)) or 'none'}")


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _home(settings: Config) -> Iterator[Finding]:
    home = settings.home
    if not home.exists():
        nearest = next(each for each in home.parents if each.exists())
        _try_to_write(nearest)
        yield Finding("home", OK, f"{home}: is made at first use")
        return
    if not home.is_dir():
        mend = f"move it away, or set CASFLOW_HOME (it comes from {settings.origins['home']})"
        yield Finding("home", BROKEN, f"no folder: {home}", mend)
        return
    _try_to_write(home)
    free = shutil.disk_usage(home).free
    if free < _LITTLE_ROOM:
        mend = "make room, or run casflow cache prune and casflow gc"
        yield Finding("home", WARNING, f"{home}: only {size(free)} free", mend)
    else:
        yield Finding("home", OK, f"{home}, {size(free)} free")


def _try_to_write(folder: Path) -> None:
    """Make a file and remove it.

    Raises:
        OSError: It cannot be made.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"casflow")
        file.flush()


def _permissions(home: Path, *, fix: bool) -> Iterator[Finding]:
    if os.name != "posix" or not home.exists():
        return
    kept = (home, *(each for each in home.iterdir() if not each.is_symlink()))
    open_to_others = [each for each in kept if each.stat().st_mode & _OTHERS]
    if fix:
        for each in open_to_others:
            each.chmod(each.stat().st_mode & ~_OTHERS)
    if open_to_others and not fix:
        what = f"other users can get at {open_to_others[0]}"
        yield Finding("permissions", BROKEN, what, f"casflow doctor --fix, or chmod -R go= {home}")
        return
    what = f"only this user can get at {home}"
    if open_to_others:
        what += f"; mended {plural(len(open_to_others), 'entry', 'entries')}"
    yield Finding("permissions", OK, what)


def _is_to_be_made(settings: Config) -> bool:
    """Whether the registry is a file that is not there yet; opening it would make it."""
    file = file_of(settings.registry)
    return file is not None and not file.exists()


def _registry(settings: Config) -> Iterator[Finding]:
    if _is_to_be_made(settings):
        yield Finding("registry", OK, f"{file_of(settings.registry)}: is made at first use")
        return
    with Registry(settings.registry) as registry:
        count = len(registry.flows())
        damage = [each for each in registry.damage() if not each.reason.endswith(", set aside")]
    if damage:
        what = f"{plural(len(damage), 'record')} of no readable form"
        yield Finding("registry", WARNING, what, "casflow registry check lists and sets them aside")
    yield Finding("registry", OK, f"{registry.where}, {plural(count, 'flow')}")


def _cache(settings: Config) -> Iterator[Finding]:
    folder = settings.cache_dir
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not nearest.is_dir():
        yield Finding("cache", BROKEN, f"no folder: {nearest}", "move it away, or set cache_dir")
        return
    _try_to_write(nearest)
    if not folder.exists():
        yield Finding("cache", OK, f"{folder}: is made at first use")
        return
    kept = cache.default()
    used, free = kept.size(), shutil.disk_usage(nearest).free
    what = f"{folder}, {size(used)} of {size(kept.limit)}"
    if kept.limit == 0:
        yield Finding("cache", WARNING, f"{what}: nothing is kept", "set cache_limit, such as 10GB")
    elif kept.limit - used > free:
        mend = "set cache_limit to what there is room for"
        yield Finding("cache", WARNING, f"{what}, but only {size(free)} free", mend)
    else:
        yield Finding("cache", OK, what)


def _clock(settings: Config, *, can_ask: bool) -> Iterator[Finding]:
    mend = "set the clock, and let NTP keep it"
    if can_ask:
        with Registry(settings.registry) as registry:
            skew = registry.clock_skew().total_seconds()
        if abs(skew) > MAX_SKEW:
            side = "ahead of" if skew > 0 else "behind"
            yield Finding("clock", BROKEN, f"{abs(skew):.0f} s {side} the registry's", mend)
            return
    written = [each.stat().st_mtime for each in settings.home.glob("*")]
    ahead = max(written, default=0.0) - time.time()
    if ahead > MAX_SKEW:
        what = f"behind by {ahead:.0f} s at least: the home has files of that time"
        yield Finding("clock", BROKEN, what, mend)
    else:
        yield Finding("clock", OK, time.strftime("%Y-%m-%d %H:%M:%S%z"))


def _certificates() -> Iterator[Finding]:
    if (bundle := config.ca_bundle()) is not None:
        yield Finding("certificates", OK, bundle)
