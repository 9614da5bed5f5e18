"""Ray: a runtime environment field, `{"casflow": "proj@prod"}`, that brings a tree to workers.

Owns how Ray's runtime environment plug-in maps onto `casflow.Store`. Invariant: an environment is
named by a digest, so two versions stand side by side and an environment is made once a node.

A cluster knows the field when its nodes start with
`RAY_RUNTIME_ENV_PLUGINS='[{"class": "casflow.integrations.ray.CasflowPlugin"}]'`.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from ray._private.runtime_env.plugin import RuntimeEnvPlugin

import casflow
from casflow.errors import ConfigError

if TYPE_CHECKING:
    import logging

_FIELD = "casflow"


def pinned(tree: str, store: str | None = None) -> dict[str, dict[str, str | None]]:
    """Return a runtime environment of the digest that a name stands for now.

    Ray keeps the workers of an environment that is written the same way; a name that moves is
    seen by new workers only. With this, every job says which version it means.

    Args:
        tree: Name, with `@tag`, `@version` or `@digest` if wanted.
        store: URL of the store; the setting `store` when None.

    Raises:
        CasflowError: The tree cannot be resolved.
    """
    return {_FIELD: {"tree": casflow.Store(store).digest(tree), "store": store}}


class CasflowPlugin(RuntimeEnvPlugin):  # type: ignore[misc]
    """Checks a tree out on a node, and starts workers in it.

    The field is a reference, or `{"tree": reference, "store": URL}`.
    """

    name = _FIELD

    @staticmethod
    def validate(runtime_env_dict: dict[str, Any]) -> None:
        """Check the field; ConfigError when it is neither form."""
        _read(runtime_env_dict[_FIELD])

    def get_uris(self, runtime_env: Any) -> list[str]:
        """Return what names the environment: the digest of its tree."""
        value = runtime_env.get(_FIELD)
        if value is None:
            return []
        tree, store = _read(value)
        return [f"casflow://{casflow.Store(store).digest(tree)}"]

    async def create(
        self,
        uri: str | None,
        runtime_env: Any,
        context: Any,  # noqa: ARG002 - the plug-in interface
        logger: logging.Logger,  # noqa: ARG002
    ) -> float:
        """Check the tree out on this node; return its size in bytes."""
        if uri is None:
            return 0
        _, store = _read(runtime_env[_FIELD])
        opened = casflow.Store(store)
        digest = uri.removeprefix("casflow://")
        await asyncio.to_thread(opened.checkout, digest)
        listing = await asyncio.to_thread(opened.listing, digest)
        return float(sum(entry.size for entry in listing.entries))

    def modify_context(
        self,
        uris: list[str],
        runtime_env: Any,
        context: Any,
        logger: logging.Logger,  # noqa: ARG002 - the plug-in interface
    ) -> None:
        """Start the worker in the tree, with the tree's modules importable."""
        if not uris:
            return
        _, store = _read(runtime_env[_FIELD])
        folder = casflow.Store(store).checkout(uris[0].removeprefix("casflow://"))
        before = context.env_vars.get("PYTHONPATH") or os.environ.get("PYTHONPATH", "")
        context.env_vars["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), before)))
        context.command_prefix += ["cd", str(folder), "&&"]

    def delete_uri(self, uri: str, logger: logging.Logger) -> float:  # noqa: ARG002
        """Leave the checkout to the cache, which evicts what is not used; return 0 bytes."""
        return 0


def _read(value: Any) -> tuple[str, str | None]:
    if isinstance(value, str):
        return value, None
    if (
        isinstance(value, dict)
        and isinstance(value.get("tree"), str)
        and value.keys()
        <= {
            "tree",
            "store",
        }
    ):
        return value["tree"], value.get("store")
    hint = 'write "name@ref", or {"tree": "name@ref", "store": "s3://bucket"}'
    raise ConfigError("not a reference to a tree", where="runtime_env['casflow']", hint=hint)
