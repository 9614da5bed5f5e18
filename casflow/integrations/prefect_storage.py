"""Prefect 3: runner storage, by which `from_source` and deployments take their code from a tree.

Owns what a deployment keeps. Invariant: it names a digest, unless it was told to follow a name; no
credential stands in its pull step.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

from prefect.blocks.core import Block

import casflow
from casflow.errors import ConfigError

_SECRET_WORDS = ("secret", "password", "token", "key", "connection_string", "credential")


class CasflowStorage:
    """Runner storage: `flow.from_source(CasflowStorage("etl@prod"), "flow.py:main").deploy(...)`.

    Args:
        tree: Name, with `@tag`, `@version` or `@digest` if wanted.
        store: URL of the store; the setting `store` of whoever pulls when None.
        follow: Resolve the name at every run; else the deployment is pinned to today's digest.
        shared: Runs use the machine's read-only checkout instead of a private copy.
        **options: Options of the store. One that holds a credential is given as a Prefect block.

    Raises:
        ConfigError: A credential stands in an option as it is.
    """

    def __init__(
        self,
        tree: str,
        store: str | None = None,
        *,
        follow: bool = False,
        shared: bool = False,
        **options: Any,
    ) -> None:
        for name, value in options.items():
            if any(word in name for word in _SECRET_WORDS) and not isinstance(value, Block):
                hint = "give it as a Prefect Secret block, or set it where the flow runs"
                raise ConfigError("a deployment would hold a credential", where=name, hint=hint)
        self._tree = tree
        self._url = store
        self._follow = follow
        self._shared = shared
        self._options = options
        self._base = Path.cwd()

    @property
    def pull_interval(self) -> int | None:
        """Seconds between two looks of a serving runner; None when nothing can change."""
        return 60 if self._follow else None

    @property
    def destination(self) -> Path:
        """Where `pull_code` puts the files."""
        return self._base / f"casflow-{self._tree.replace('/', '-').replace(':', '-')}"

    def set_base_path(self, path: Path) -> None:
        """Set the folder that `destination` lies in."""
        self._base = path

    async def pull_code(self) -> None:
        """Put the tree's files at `destination`, in place of those of an older version.

        Raises:
            CasflowError: The tree cannot be had; the older files stay.
        """
        await asyncio.to_thread(self._pull)

    def to_pull_step(self) -> dict[str, Any]:
        """Return the step that a deployment keeps."""
        inputs: dict[str, Any] = {"tree": self._tree if self._follow else self._resolve()}
        inputs |= {name: _placeholder(value) for name, value in self._options.items()}
        if self._url is not None:
            inputs["store"] = self._url
        if self._shared:
            inputs["shared"] = True
        return {"casflow.integrations.prefect.pull": inputs}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CasflowStorage) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((self._tree, self._url))

    def __repr__(self) -> str:
        return f"CasflowStorage({self._tree!r}, {self._url!r})"

    def _identity(self) -> tuple[Any, ...]:
        return self._tree, self._url, self._follow, self._shared, self._options

    def _store(self) -> casflow.Store:
        values = {name: _value(option) for name, option in self._options.items()}
        return casflow.Store(self._url, **values)

    def _resolve(self) -> str:
        version = self._store().resolve(self._tree)
        return f"{version.name}@{version.digest}"

    def _pull(self) -> None:
        self._base.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".casflow-", dir=self._base))
        try:
            made = self._store().checkout(self._tree, to=scratch / "new")
            if self.destination.exists():
                self.destination.rename(scratch / "old")
            made.rename(self.destination)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _placeholder(value: Any) -> Any:
    return f"{{{{ {value.get_block_placeholder()} }}}}" if isinstance(value, Block) else value


def _value(value: Any) -> Any:
    return value.get() if isinstance(value, Block) else value
