"""One pull in a process of its own: `python -m casflow.agents.pull IMAGE [ENGINE] [REGISTRY]`.

Owns whose fault it is when a pull fails. Invariant: exit code 0 means that the engine has the
image; else the last line says why not, and the code, by what the registry itself answers: an
engine only hands on a text.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from casflow.errors import CasflowError, NotFoundError, TransferError, UnavailableError
from casflow.storage.docker.engine import Engine
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.registry import open_registry

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Pull and return the exit code."""
    image, base_url, registry_url = arguments
    try:
        Engine(base_url or None).pull(image)
    except CasflowError as failed:
        error = _explain(failed, image, registry_url)
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _explain(failed: CasflowError, image: str, registry_url: str) -> CasflowError:
    """Return the registry's refusal if there is one; else the engine failed, and may not again."""
    if isinstance(failed, UnavailableError) and not isinstance(failed, TransferError):
        return failed  # no engine, or no room in it
    name = ImageName.parse(image)
    try:
        open_registry(name, registry_url or None).get_manifest(name)
    except NotFoundError as error:
        return NotFoundError(f"the registry does not have it ({error.what})", where=name)
    except CasflowError as refused:
        return refused
    return UnavailableError(
        f"the Docker engine cannot pull what the registry has ({failed})", where=name
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
