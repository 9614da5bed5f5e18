"""One pull in a process of its own: `python -m casflow.agents.pull IMAGE [ENGINE]`.

Owns nothing but the order of two calls. Invariant: exit code 0 means that the engine has the
image; else the last line says why not.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from casflow.errors import CasflowError
from casflow.storage.docker.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Pull and return the exit code."""
    image, base_url = arguments
    try:
        Engine(base_url or None).pull(image)
    except CasflowError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
