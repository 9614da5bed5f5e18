"""Preparing runs: a version's blobs are brought into the cache before the first run asks for them.

Owns the child process that does it, and what it says: on standard output the modules that the
flow's bytes name. Invariant: nothing of a flow is unpickled or executed here.
"""

from __future__ import annotations

import ast
import logging
import pickletools
import re
import sys
from typing import TYPE_CHECKING

from casflow import secrets
from casflow.agents import lifetime
from casflow.errors import CasflowError
from casflow.reference import PICKLE, SCRIPT
from casflow.registry import Registry
from casflow.storage.plugins import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from casflow.registry import Version

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_MAX_MODULES = 40
_MAX_BYTES = 10_000_000  # bytes that are looked through for names of modules


def main() -> int:
    """Prefetch what standard input specifies; return the exit code."""
    # The run itself will say what is wrong; here nobody waits for it.
    logging.basicConfig(handlers=[logging.NullHandler()])
    try:
        spec = lifetime.receive(lifetime.PrefetchSpec)
        with Registry(spec.registry) as registry:
            version = registry.get_version(spec.project, spec.flow, spec.version)
        for name in sorted(modules_of(version)):
            sys.stdout.write(f"{name}\n")
    except (EOFError, OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return 1
    except CasflowError as error:
        return error.exit_code
    return 0


def modules_of(version: Version) -> set[str]:
    """Bring a version into the cache; return the installed modules that its bytes name.

    Raises:
        CasflowError: It cannot be had.
    """
    storage = load(version.storage)
    with secrets.given({name: secrets.Secret(name).get() for name in storage.secrets}):
        data = storage.prefetch(version.flow)
    media_type = (version.reference or {}).get("media_type")
    if len(data) > _MAX_BYTES or media_type not in (PICKLE, SCRIPT):
        return set()
    names = _of_script(data) if media_type == SCRIPT else _of_pickle(data)
    return set(sorted(_installed(names))[:_MAX_MODULES])


def _of_script(data: bytes) -> Iterator[str]:
    for node in ast.walk(ast.parse(data)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _of_pickle(data: bytes) -> Iterator[str]:
    """Return every text that can be a module: code names what it imports when it is called."""
    for _, argument, _ in pickletools.genops(data):
        if isinstance(argument, str) and _MODULE.fullmatch(argument):
            yield argument


def _installed(names: Iterable[str]) -> set[str]:
    """Return those that come with a distribution; a user's own files may change at any time."""
    from importlib.metadata import packages_distributions

    known = packages_distributions()
    return {name for name in names if name.partition(".")[0] in known}


if __name__ == "__main__":
    sys.exit(main())
