"""Storages: what a user writes to say where flows are kept.

`Local`, `S3`, `GCS` and `Azure` hold bytes; `GitHub`, `GitLab`, `Bitbucket`, `CodeCommit`, `Git`
and `Module` point at a script; `Docker` and `Webhook` are their own kind. A third party adds one
by an entry point of the group `casflow.storage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casflow.storage.plugins import CLASSES, default_class, find_class, load

if TYPE_CHECKING:
    from casflow.storage.azure import Azure
    from casflow.storage.base import Storage
    from casflow.storage.bitbucket import Bitbucket
    from casflow.storage.codecommit import CodeCommit
    from casflow.storage.docker import Docker
    from casflow.storage.gcs import GCS
    from casflow.storage.git import Git
    from casflow.storage.github import GitHub
    from casflow.storage.gitlab import GitLab
    from casflow.storage.local import Local
    from casflow.storage.module import Module
    from casflow.storage.s3 import S3
    from casflow.storage.webhook import Webhook

__all__ = [
    "GCS",
    "S3",
    "Azure",
    "Bitbucket",
    "CodeCommit",
    "Docker",
    "Git",
    "GitHub",
    "GitLab",
    "Local",
    "Module",
    "Storage",
    "Webhook",
    "default_class",
    "load",
]


def __getattr__(name: str) -> Any:
    if name in CLASSES:
        return find_class(name)
    if name == "Storage":
        from casflow.storage.base import Storage

        return Storage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
