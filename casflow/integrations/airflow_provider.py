"""Airflow: connections that name a store, and `casflow://` in Airflow's object storage.

Owns what Airflow's discovery of providers finds. Invariant: it is imported by every Airflow
process, so it imports neither Airflow nor a store before somebody asks for one.
"""

from __future__ import annotations

from typing import Any

schemes = ["casflow"]


def get_provider_info() -> dict[str, Any]:
    """Return what Airflow's discovery of providers is told."""
    return {
        "package-name": "casflow",
        "name": "casflow",
        "description": "Projects and flows by digest: a DAG bundle and a file system.",
        "filesystems": [__name__],
    }


def get_fs(conn_id: str | None, storage_options: dict[str, Any] | None = None) -> Any:
    """Return the file system of `ObjectStoragePath("casflow://[connection@]name/path")`.

    Args:
        conn_id: Connection whose extra holds `store` and its options; settings when None.
        storage_options: Options of `casflow.integrations.fsspec.CasflowFileSystem`.
    """
    from casflow.integrations.fsspec import CasflowFileSystem

    given = dict(storage_options or {})
    if conn_id is not None:
        store, options = store_of(conn_id)
        given = {"store": store, "store_options": options} | given
    return CasflowFileSystem(**given)


def store_of(conn_id: str) -> tuple[str | None, dict[str, Any]]:
    """Return the URL in an Airflow connection's extra, or None, and the store's options in it."""
    try:
        from airflow.sdk import BaseHook
    except ImportError:  # Airflow 3.0
        from airflow.hooks.base import BaseHook

    options = dict(BaseHook.get_connection(conn_id).extra_dejson)
    return options.pop("store", None), options
