"""Prefect 3: what `submit_to_work_pool` sends, as blobs of a store.

Owns both steps of a work pool's bundle storage, one program: `--key KEY PATH` uploads what lies at
the path, `--key KEY` executes the bundle that was uploaded. Invariant: what is executed has the
digest that the store names, and bytes that the store has, such as the archive of files that have
not changed, are not sent again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import casflow
from casflow.errors import CasflowError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP = __spec__.name if __spec__ is not None else __name__


def configure(
    work_pool: str,
    store: str | None = None,
    *,
    launcher: Sequence[str] | None = None,
    requires: Sequence[str] = (),
    results: str | None = None,
) -> None:
    """Let a work pool keep its bundles in a store.

    Args:
        work_pool: Name of the pool.
        store: URL of the store; the setting `store` of whoever submits and runs when None.
        launcher: The program that runs the steps, such as `["python"]`; by default `uv run` in the
            environment that is active. Prefect 3.4 knows no launchers.
        requires: What `uv run` installs for the steps, such as `casflow[s3]`.
        results: Name of a saved `CasflowResults` block that results are kept in.

    Raises:
        ObjectNotFound: There is no such pool.
        ValueError: There is no such block.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolUpdate
    from prefect.client.schemas.objects import WorkPoolStorageConfiguration

    inputs: dict[str, Any] = {} if store is None else {"store": store}
    if launcher is not None:
        inputs["launcher"] = list(launcher)
    elif requires:
        inputs["requires"] = list(requires)
    step = {STEP: inputs}
    storage = WorkPoolStorageConfiguration(
        bundle_upload_step=step,
        bundle_execution_step=step,
        default_result_storage_block_id=_block_id(results),
    )
    with get_client(sync_client=True) as client:
        client.update_work_pool(work_pool, WorkPoolUpdate(storage_configuration=storage))


def _block_id(name: str | None) -> Any:
    if name is None:
        return None
    from casflow.integrations.prefect import CasflowResults

    return CasflowResults.load(name, _sync=True)._block_document_id  # noqa: SLF001


def upload(store: casflow.Store, key: str, path: Path) -> None:
    """Store a bundle, or the archive of its files, under the key that Prefect gave it.

    Raises:
        CasflowError: The store does not take it, or there is no such file.
    """
    store.put(path, _name(key))


def download(store: casflow.Store, key: str, folder: Path) -> Path:
    """Write a bundle, and the archive of its files, into a folder; return the bundle's path.

    Raises:
        CasflowError: The store has no such bundle, or it is damaged.
    """
    bundle = _write(store, key, folder)
    files = json.loads(bundle.read_bytes()).get("files_key")
    if files is not None:
        _write(store, files, folder)
    return bundle


def _write(store: casflow.Store, key: str, folder: Path) -> Path:
    name = _name(key)
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(store.get(store.resolve(name).digest))
    return path


def _name(key: str) -> str:
    inside = PurePosixPath(key)
    if not key or inside.is_absolute() or ".." in inside.parts:
        raise ConfigError("not the key of a bundle", where=repr(key))
    return f"prefect/{key}"


def _execute(store: casflow.Store, key: str) -> None:
    try:
        from prefect.bundles.execute import execute_bundle_from_file
    except ImportError:  # as in Prefect 3.4
        from prefect._experimental.bundles.execute import execute_bundle_from_file

    with tempfile.TemporaryDirectory(prefix="casflow-bundle-") as folder:
        execute_bundle_from_file(str(download(store, key, Path(folder))))


def main() -> int:
    """Upload or execute; return the exit code."""
    parser = argparse.ArgumentParser(prog=STEP, description="A step of a work pool's storage.")
    parser.add_argument("--store", help="URL of the store; the setting `store` without it")
    parser.add_argument("--key", required=True, help="what Prefect calls the bundle")
    parser.add_argument("path", nargs="?", type=Path, help="file to upload; without it, execute")
    given = parser.parse_args()
    try:
        store = casflow.Store(given.store)
        if given.path is None:
            _execute(store, given.key)
        else:
            upload(store, given.key, given.path)
    except CasflowError as error:
        sys.stderr.write(f"casflow: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
