"""Health checks, run inside an image before it is used: `python -m casflow.storage.docker.check`.

Owns what an image must be able to do: read each of its flows at the path that holds the digest,
and load it. Invariant: exit code 0 means that all flows load; the last line says what is wrong.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from casflow.digests import verify
from casflow.errors import CasflowError, os_errors
from casflow.reference import BlobName, Reference
from casflow.storage.content import flow_from_bytes
from casflow.storage.docker.layer import path_of
from casflow.storage.docker.recipe import python_version

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Check flows and return the exit code."""
    directory, python, *forms = arguments
    if python != python_version():
        sys.stdout.write(
            f"built by Python {python}, but the image runs Python {python_version()}\n"
        )
    try:
        for form in forms:
            _check(directory, Reference.from_dict(json.loads(form), where="the command"))
    except CasflowError as error:
        sys.stdout.write(f"{error}\n")
        return error.exit_code
    return 0


def _check(directory: str, reference: Reference) -> None:
    parts = {role: _read(directory, each) for role, each in reference.attachments.items()}
    path = path_of(directory, reference.digest)
    flow_from_bytes(reference, _read(directory, reference.blob), parts, where=path)


def _read(directory: str, blob: BlobName) -> bytes:
    path = path_of(directory, blob.digest)
    with os_errors(path), open(path, "rb") as file:  # noqa: PTH123 - a path as text in an image
        data = file.read()
    verify(data, blob.digest, where=path)
    return data


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
