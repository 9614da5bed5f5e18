"""One process of the mass test: it serialises what a package offers, or loads what another wrote.

`python -m tests.serialize.mass.worker JOB` with a job as JSON; the result goes to its file `out`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pickle
import random
import signal
import sys
import types
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = 20  # seconds for one object


@contextlib.contextmanager
def patience(seconds: int = _PATIENCE) -> Iterator[None]:
    """Raise TimeoutError when something takes too long."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def import_all(names: list[str]) -> dict[str, types.ModuleType]:
    """Import modules in the given order, as far as they can be imported here."""
    found = {}
    for name in names:
        try:
            with patience(), contextlib.redirect_stdout(io.StringIO()):
                found[name] = importlib.import_module(name)
        except BaseException:  # a script may call exit
            continue
    return found


def offered(module: types.ModuleType) -> dict[str, Any]:
    """Return the public functions and classes that a module defines."""
    found = {}
    for name, value in list(vars(module).items()):
        is_kind = isinstance(value, (types.FunctionType, type))
        if is_kind and not name.startswith("_") and value.__module__ == module.__name__:
            found[f"{module.__name__}:{name}"] = value
    return found


def write(job: dict[str, Any]) -> dict[str, Any]:
    """Serialise everything that a package offers."""
    sys.path.insert(0, job["folder"])
    for name in job["before"]:
        importlib.import_module(name)
    names = list(job["modules"])
    chooser = random.Random(job["seed"])
    if job["seed"]:
        chooser.shuffle(names)
    modules = import_all(names)
    objects = {key: each for module in modules.values() for key, each in offered(module).items()}
    wanted = [key for key in job["wanted"] if key in objects] or sorted(objects)
    if job["limit"]:
        from tests.serialize.mass.project import chance

        wanted = sorted(wanted, key=chance)[: job["limit"]]
    chooser.shuffle(wanted)
    return {key: _written(key, objects[key], job) for key in wanted}


def _written(key: str, obj: Any, job: dict[str, Any]) -> dict[str, Any]:
    from casflow.digests import digest_of
    from casflow.serialize import serialize

    found: dict[str, Any] = {}
    keep = job.get("keep")
    top = key.partition(":")[0].partition(".")[0]
    if keep:
        found["described"] = _described(obj, top)
        plain = _plain(obj, top)
        found["plain"] = plain if isinstance(plain, str) else None
        if isinstance(plain, bytes):
            Path(keep, _file(key) + ".plain").write_bytes(plain)
    try:
        with patience():
            made = serialize(obj, project=Path(job["folder"]))
        found["digest"] = digest_of(made.data)
        found["warnings"] = list(made.warnings)
        if keep or job.get("blobs"):
            Path(keep or job["blobs"], _file(key) + ".blob").write_bytes(made.data)
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"[:600]
    return found


def _file(key: str) -> str:
    return key.replace(":", "-")


def _described(obj: Any, top: str) -> Any:
    from tests.serialize.mass.describe import Description

    return Description(top).of(obj)


def _plain(obj: Any, top: str) -> bytes | str:
    """Return what cloudpickle makes of an object when its package travels by value."""
    import cloudpickle

    known = cloudpickle.list_registry_pickle_by_value()
    if top not in known:
        cloudpickle.register_pickle_by_value(sys.modules[top])
    try:
        with patience():
            return cloudpickle.dumps(obj)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]


def load(job: dict[str, Any]) -> dict[str, Any]:
    """Load what was written, where the package is not, and look at it."""
    results = {}
    for key in job["wanted"]:
        found = {}
        top = key.partition(":")[0].partition(".")[0]
        for kind in ("plain", "blob"):
            file = Path(job["keep"], f"{_file(key)}.{kind}")
            if file.exists():
                try:
                    with patience():
                        obj = pickle.loads(file.read_bytes())
                    found[kind] = {"described": _described(obj, top)}
                except BaseException as error:
                    found[kind] = {"error": f"{type(error).__name__}: {error}"[:300]}
        results[key] = found
    return results


def main() -> None:
    """Do one job."""
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(3000)
    job = json.loads(sys.argv[1])
    if job["do"] == "mutate":
        from tests.serialize.mass.mutations import mutate as do
    else:
        do = {"write": write, "load": load}[job["do"]]
    result = do(job)
    Path(job["out"]).write_text(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)  # whatever threads the packages started


if __name__ == "__main__":
    main()
