"""A program for test_faulty_runs: runs a flow once for each call on the cache that can fail.

Arguments: name of the flow, `cold` or `warm`, how many of the errors to try at each position, and
the errors, which take turns. Forks for each case, so that the library that makes calls fail counts
from the start; prints a line for each case that went wrong, and in the end how many positions met a
fault, how many cases did, and how many of those warned. A family ends with the first position that
no process reaches any more.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from itertools import count, cycle, islice
from pathlib import Path

from casflow.cache import outages
from casflow.cli import _run
from casflow.storage import Docker, Git, Local
from tests.cache.shim import FAMILIES

ROOT = Path(os.environ["FAULT_ROOT"])


def case(name: str, family: str, number: int, after: int, folder: Path) -> tuple[bool, int, str]:
    """Run the flow with one fault; return whether it was met, the exit code, and what was said."""
    mark, said = folder / "mark", folder / "said"
    mark.unlink(missing_ok=True)
    os.environ |= {"FAULT_FAMILY": family, "FAULT_ERRNO": str(number), "FAULT_AFTER": str(after)}
    os.environ["FAULT_MARK"] = str(mark)
    child = os.fork()
    if not child:
        code = 99
        try:
            descriptor = os.open(said, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            outages._reported.clear()
            code = _run(["run", name])
            sys.stdout.flush()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    del os.environ["FAULT_FAMILY"]
    return mark.exists(), code, said.read_text()


def main(name: str, state: str, tried: int, numbers: list[int]) -> None:
    folder = ROOT.parent / "cases"
    folder.mkdir(exist_ok=True)
    for kind in Docker, Git, Local:  # imported, so that no case has to
        logging.getLogger("casflow").debug("%s", kind)
    _run(["run", name])
    if state == "warm":
        shutil.copytree(ROOT, folder / "warm")
    positions = met = warned = 0
    errors = cycle(numbers)
    for family in FAMILIES:
        for after in count():
            reached = False
            for number in islice(errors, tried):
                shutil.rmtree(ROOT, ignore_errors=True)
                if state == "warm":
                    shutil.copytree(folder / "warm", ROOT)
                was_met, code, said = case(name, family, number, after, folder)
                reached |= was_met
                met += was_met
                warnings = said.count("the cache is not used")
                warned += warnings
                right = code == 0 and "Success" in said and warnings <= 1
                if not right or "Traceback" in said or "made anew" in said:
                    print("WRONG", family, number, after, code, said[-600:], flush=True)
            if not reached:
                break
            positions += 1
        print(family, "positions", after, flush=True)
    print("positions", positions, "met", met, "warned", warned, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), [int(each) for each in sys.argv[4:]])
