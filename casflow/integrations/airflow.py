"""Airflow 3: a DAG bundle whose versions are digests of trees.

Owns how Airflow's bundle interface maps onto `casflow.Store`. Invariant: a folder that stands under
a version's name is that tree, whole: the store makes it beside and renames it once, so a process
that is killed leaves at most a temporary folder that nobody looks into.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle

import casflow
from casflow.errors import ConfigError
from casflow.integrations.airflow_provider import store_of

_KEPT = 2  # a parser may still read the folder that a refresh has just replaced


class CasflowDagBundle(BaseDagBundle):  # type: ignore[misc]
    """A versioned DAG bundle that is read from a casflow store.

    A run keeps the version that it began on: the version is the tree's digest, in the form
    `blake3-<64 hex>`, which is safe in a path.

    Args:
        tree: What to follow: `name` (latest version), `name@tag` or `name@3`.
        store: URL of the store; the setting `store` when None.
        subdir: Folder of the tree that holds the DAGs; its root when None.
        casflow_conn_id: An Airflow connection whose extra holds `store` and the store's options
            (`aws_access_key_id`, `endpoint_url`, ...); settings and environment when None.
        **options: What every bundle takes: `name`, `version`, `refresh_interval`,
            `view_url_template`.

    Raises:
        ConfigError: Neither `store`, the connection nor the settings name a store, or `subdir`
            leaves the tree.
    """

    supports_versioning = True

    def __init__(
        self,
        *,
        tree: str,
        store: str | None = None,
        subdir: str | None = None,
        casflow_conn_id: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        inside = PurePosixPath(subdir or ".")
        if inside.is_absolute() or ".." in inside.parts:
            raise ConfigError("subdir leaves the tree", where=subdir, hint="name a folder of it")
        self.tree = tree
        self.subdir = subdir
        self._url = store
        self._conn_id = casflow_conn_id
        self._latest: str | None = None

    def initialize(self) -> None:
        """Put the version's files where `path` says, unless they are there.

        Raises:
            NotFoundError: The store has no such tree or version.
            UnavailableError: The files are not on this machine and the store does not answer.
        """
        if self.version:
            self._materialize(self._base(self.version), self.version)
        else:
            self.refresh()
        super().initialize()

    def refresh(self) -> None:
        """Resolve the name again and put its files in place.

        When the store does not answer, the files that are in place stay.
        """
        if self.version:
            return
        version = self._store().resolve(self.tree)
        self._materialize(self._base(version.path_safe), version.digest)
        self._latest = version.path_safe
        with self.lock():  # two processors may refresh at once
            os.utime(self._base(version.path_safe))
            for each in self._standing()[_KEPT:]:
                shutil.rmtree(each, ignore_errors=True)

    def get_current_version(self) -> Any:
        """Return the digest that `path` holds: a `BundleVersion` where Airflow has one."""
        version = self.version or self._latest
        try:
            from airflow.dag_processing.bundles.base import BundleVersion
        except ImportError:
            return version
        return version and BundleVersion(version)

    @property
    def path(self) -> Path:
        """The folder that holds the DAGs."""
        version = self.version or self._latest
        # Some commands of Airflow read without a refresh before it.
        standing = [self._base(version)] if version else self._standing()
        folder = next(iter(standing), self.base_dir)
        return folder / self.subdir if self.subdir else folder

    def _base(self, version: str) -> Path:
        # Airflow removes stale folders below `versions`, whoever may parse them as the latest.
        parent: Path = self.versions_dir if self.version else self.base_dir / "latest"
        return parent / version

    def _store(self) -> casflow.Store:
        url, options = (None, {}) if self._conn_id is None else store_of(self._conn_id)
        return casflow.Store(self._url or url, **options)

    def _materialize(self, folder: Path, ref: str) -> None:
        if folder.is_dir():
            return
        with self.lock():
            if not folder.is_dir():
                folder.parent.mkdir(parents=True, exist_ok=True)
                self._store().checkout(ref, to=folder)

    def _standing(self) -> list[Path]:
        """Return the folders that were the latest one, the last one first."""
        found: list[tuple[float, Path]] = []
        for each in (self.base_dir / "latest").glob("blake3-*"):
            with suppress(FileNotFoundError):  # another processor drops it
                found.append((each.stat().st_mtime, each))
        return [each for _, each in sorted(found, reverse=True)]
