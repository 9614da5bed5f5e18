"""Whether a blob loads in a process that knows nothing of its project.

Owns that process. Invariant: it has the installed distributions of this one and casflow, and no
other search path, state or working folder of it; so what loads there loads wherever the same
distributions are installed.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from casflow.errors import LoadError, bounded
from casflow.serialize.distributions import holds_distributions

if TYPE_CHECKING:
    from casflow.digests import Buffer

logger = logging.getLogger(__name__)

_TIMEOUT = 600.0  # seconds that loading may take, with all that it imports
_OWN = str(Path(__file__).parents[2])  # where casflow is imported from
_LOAD = """
import os, pickle, sys
sys.path += [each for each in sys.argv[1:] if each not in sys.path]
try:
    pickle.load(sys.stdin.buffer)
except BaseException as error:
    os.write(2, f"\\n{type(error).__name__}: {' '.join(str(error).split())}".encode())
    os._exit(1)
os._exit(0)  # whatever the object has begun by being loaded
"""


def check_loads(data: Buffer, *, where: str) -> None:
    """Load a blob once in a clean process.

    Args:
        data: The blob, which this process has made.
        where: The name of its flow.

    Where no process can be started, nothing is said of the blob: that is no fault of it.

    Raises:
        LoadError: It does not load; the message is what the loading process said.
    """
    command = [sys.executable, "-E", "-P", "-c", _LOAD, *_places()]
    try:
        done = subprocess.run(
            command,
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=os.sep,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _error(f"no end after {_TIMEOUT:.0f} s", where) from None
    except OSError as error:
        logger.warning("flow %s was not loaded in a clean process: %s", where, error)
        return
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise _error(bounded(lines[-1]) if lines else _ended(done.returncode), where)


def _places() -> list[str]:
    """Return the folders of installed packages that this process searches, and casflow's own."""
    places = [os.path.abspath(each) for each in sys.path if each]  # noqa: PTH100 - as it is named
    return [*(each for each in places if holds_distributions(each)), _OWN]


def _ended(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"exit code {code}"


def _error(reason: str, where: str) -> LoadError:
    hint = "make what cannot be loaded inside the function that uses it, or use --as-script"
    what = f"the flow does not load in a clean process ({reason})"
    return LoadError(what, where=where, hint=hint)
