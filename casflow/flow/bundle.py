"""Bundles: a script and the files beside it as one run of bytes, and the flow of it again.

Owns the format, which is the same in every process and version of Python: one line of JSON with
the script's name and each file's name and size, sorted, and then their contents. Invariant: what
is imported beside a script is what stands in its bundle, and two bundles never mix: loading one
forgets what the one before it had imported.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from casflow.errors import IntegrityError, os_errors
from casflow.flow.project import enter
from casflow.flow.script import flow_from_script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.flow.flows import Flow


_LONGEST_PATH = 4000  # bytes


def pack(script: str, files: Mapping[str, bytes]) -> bytes:
    """Return a bundle.

    Args:
        script: Name of the script among the files.
        files: Contents by path, relative to the script's folder, with `/`.
    """
    names = sorted(files)
    header = {"script": script, "files": [[name, len(files[name])] for name in names]}
    line = json.dumps(header, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    return line + b"".join(files[name] for name in names)


def unpack(data: bytes, *, where: str) -> tuple[str, dict[str, bytes]]:
    """Return the script's name and the files of a bundle.

    Raises:
        IntegrityError: It is not a bundle, or a name leads out of its folder.
    """
    line, _, rest = data.partition(b"\n")
    try:
        header = json.loads(line)
        script, files, start = str(header["script"]), {}, 0
        for name, size in header["files"]:
            end = start + _check_size(size, len(rest) - start)
            files[_check_path(name)] = rest[start:end]
            start = end
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise IntegrityError(f"damaged bundle ({error!r})", where=where) from error
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    if script not in files or start != len(rest) or not folders.isdisjoint(files):
        raise IntegrityError("damaged bundle", where=where)
    return script, files


def _check_size(size: object, left: int) -> int:
    if type(size) is not int or not 0 <= size <= left:
        raise ValueError(f"a file of {size!r} bytes, where {left} are left")
    return size


def _check_path(name: str) -> str:
    path = PurePosixPath(name)
    clean = str(path) == name and path.parts and not path.is_absolute() and ".." not in path.parts
    if not clean or "\\" in name or min(name) < " " or len(name.encode()) > _LONGEST_PATH:
        raise ValueError(f"{name!r} is no path in a bundle")
    return name


def flow_from_bundle(data: bytes, name: str, *, where: str) -> Flow:
    """Execute a bundle's script, with its other files beside it, and return a flow by name.

    The files stay where they are until the process ends, so that tasks can import and read them.

    Raises:
        LoadError: The script is not Python, raised an exception, or holds no such flow.
    """
    script, files = unpack(data, where=where)
    folder = _write(files)
    enter([folder])
    return flow_from_script(files[script], name, path=str(folder / script))


def _write(files: Mapping[str, bytes]) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="casflow-bundle-")).resolve()
    atexit.register(_remove, folder, os.getpid())
    for name, data in files.items():
        path = folder / name
        with os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return folder


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child leaves it to its parent
        shutil.rmtree(folder, ignore_errors=True)
