"""Which storages there are.

Owns the way from a storage's name to its class and from its JSON form back to the storage.
Invariant: a class is imported only when it is asked for, so no storage costs another's imports.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any, cast

from casflow import config
from casflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.storage.base import Storage

GROUP = "casflow.storage"
CLASSES = {
    "Azure": "casflow.storage.azure:Azure",
    "GCS": "casflow.storage.gcs:GCS",
    "Docker": "casflow.storage.docker:Docker",
    "Local": "casflow.storage.local:Local",
    "S3": "casflow.storage.s3:S3",
    "GitHub": "casflow.storage.github:GitHub",
    "GitLab": "casflow.storage.gitlab:GitLab",
    "Bitbucket": "casflow.storage.bitbucket:Bitbucket",
    "CodeCommit": "casflow.storage.codecommit:CodeCommit",
    "Git": "casflow.storage.git:Git",
    "Module": "casflow.storage.module:Module",
    "Webhook": "casflow.storage.webhook:Webhook",
}


def find_class(name: str) -> type[Storage]:
    """Return the storage class of a name: one of ours, or one that an entry point adds.

    Raises:
        ConfigError: There is none of that name.
    """
    target = CLASSES.get(name) or _entry_point(name)
    module, _, attribute = target.partition(":")
    return cast("type[Storage]", getattr(importlib.import_module(module), attribute))


def _entry_point(name: str) -> str:
    from importlib.metadata import entry_points

    found = entry_points(group=GROUP, name=name)
    for each in found:
        return each.value
    raise ConfigError("unknown storage", where=name, hint=f"known are {', '.join(sorted(CLASSES))}")


def load(form: Mapping[str, Any]) -> Storage:
    """Return the storage of its JSON form, as `Storage.serialize` wrote it.

    Raises:
        ConfigError: It names an unknown storage, or its fields do not fit.
    """
    if not isinstance(form.get("type"), str):
        raise ConfigError("not a storage's JSON form", where=str(form)[:80])
    return find_class(form["type"]).from_dict(form)


def default_class() -> type[Storage]:
    """Return the class that a flow without a storage gets; `Local` when the setting is bad."""
    name = config.load().default_storage
    module, _, attribute = name.rpartition(".")
    try:
        return cast("type[Storage]", getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError, ValueError, ConfigError):
        warnings.warn(f"default storage {name} cannot be imported; Local is used", stacklevel=2)
        return find_class("Local")
