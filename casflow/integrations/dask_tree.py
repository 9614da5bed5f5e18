"""Dask: a tree on every worker of a cluster, for anybody's graphs.

Owns the worker plug-in. Invariant: of one tree, a worker imports modules of one version only: a
new version's registration takes the old one's folder and modules away first.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import casflow
from casflow.errors import MissingExtraError

try:
    from distributed.diagnostics.plugin import WorkerPlugin
except ImportError as error:
    raise MissingExtraError("distributed", "dask") from error


class CasflowPlugin(WorkerPlugin):
    """`client.register_plugin(CasflowPlugin("etl@prod", "s3://bucket"))`.

    The name is resolved once, here: all workers get one digest, also those that join later.
    Registering again after a push brings the new version to all of them.

    Args:
        tree: Name, with `@tag`, `@version` or `@digest` if wanted.
        store: URL of the store; the setting `store` when None.
        **options: Options of the store.

    Raises:
        CasflowError: The tree cannot be resolved.
    """

    idempotent = False

    def __init__(self, tree: str, store: str | None = None, **options: Any) -> None:
        self._store = casflow.Store(store, **options)
        version = self._store.resolve(tree)
        self.name = f"casflow-{version.name}"
        self.digest = version.digest
        self._folder: str | None = None

    def setup(self, worker: Any) -> None:  # noqa: ARG002 - the plug-in interface
        """Check the tree out on the worker's machine and make its modules importable."""
        self._folder = str(self._store.checkout(self.digest))
        sys.path.insert(0, self._folder)

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - the plug-in interface
        """Take the tree's folder and the modules that came from it away."""
        if self._folder is None:
            return
        if self._folder in sys.path:
            sys.path.remove(self._folder)
        for name, module in list(sys.modules.items()):
            source = getattr(module, "__file__", None)
            if source is not None and Path(source).is_relative_to(self._folder):
                del sys.modules[name]
