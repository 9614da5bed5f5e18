"""Prefect 3: deployments whose code is a tree.

Owns how Prefect's pull steps and storage blocks map onto `casflow.Store`. Invariant: what a run
works on is the tree that its deployment names, whole; what a block stored is read back verified.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from prefect.filesystems import WritableFileSystem

import casflow
from casflow.errors import NotFoundError
from casflow.integrations.prefect_storage import CasflowStorage

__all__ = ["CasflowResults", "CasflowStorage", "pull"]


def pull(
    tree: str, store: str | None = None, *, shared: bool = False, **options: Any
) -> dict[str, str]:
    """Put a tree where a run works: a pull step.

    Args:
        tree: Name, with `@tag`, `@version` or `@digest` if wanted.
        store: URL of the store; the setting `store` when None.
        shared: Use the machine's read-only checkout instead of a private copy in the workspace.
        **options: Options of the store.

    Returns:
        `directory`, the folder that Prefect changes to, and `digest`, what lies in it.

    Raises:
        CasflowError: The tree cannot be had.
    """
    opened = casflow.Store(store, **options)
    digest = opened.digest(tree)  # a deployment's is whole, so the store may be down
    if shared:
        folder = opened.checkout(digest)
    else:
        name = tree.partition("@")[0].replace("/", "-").replace(":", "-")
        folder = opened.checkout(digest, to=tempfile.mkdtemp(prefix=f"{name}-", dir=Path.cwd()))
    return {"directory": os.fspath(folder), "digest": digest}


class CasflowResults(WritableFileSystem):  # type: ignore[misc]
    """A storage block for results: each is a blob of its own, named by its path.

    Attributes:
        store: URL of the store; the setting `store` when None.
    """

    _block_type_name = "casflow results"
    _block_type_slug = "casflow-results"

    store: str | None = None

    async def read_path(self, path: str) -> bytes:
        """Return what was written last at a path; ValueError when there is nothing."""
        return await asyncio.to_thread(self._read, path)

    async def write_path(self, path: str, content: bytes) -> str:
        """Write bytes at a path; bytes that the store has already are not sent again."""
        await asyncio.to_thread(casflow.Store(self.store).put, content, path)
        return path

    def _read(self, path: str) -> bytes:
        opened = casflow.Store(self.store)
        try:
            return opened.get(opened.resolve(path).digest)
        except NotFoundError as error:
            raise ValueError(str(error)) from error
