"""Says what becomes of the definitions of one script, however it was started."""

import json
import sys
from pathlib import Path


def report(names, out=None, blobs=None):
    """Write digest, or what was said instead, of each case of a script to the file `out`."""
    from casflow.digests import digest_of
    from casflow.serialize import serialize

    out = Path(out or sys.argv[1])
    blobs = Path(blobs) if blobs else None
    found = {}
    for name in names["CASES"]:
        try:
            made = serialize(names[name])
            found[name] = digest_of(made.data)
            if any("stored as pickled" in each for each in made.warnings):
                found[name] = str(made.warnings)
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"[:500]
            continue
        if blobs:
            (blobs / f"{name}.blob").write_bytes(made.data)
    if blobs:  # after all were stored: trying them out may change them
        for name, probe in names["CASES"].items():
            shown = _shown(probe, names[name])
            (blobs / f"{name}.probe").write_text(json.dumps([probe, shown]))
            _plain(names[name], blobs / f"{name}.plain")
    out.write_text(json.dumps(found))


def _shown(probe, obj):
    try:
        return repr(eval(probe, {"x": obj}))
    except Exception as error:
        return f"failed: {error!r}"


def _plain(obj, file):
    import cloudpickle

    module = sys.modules.get("helpers_beside")
    if module is not None and module.__name__ not in cloudpickle.list_registry_pickle_by_value():
        cloudpickle.register_pickle_by_value(module)
    try:
        file.write_bytes(cloudpickle.dumps(obj))
    except Exception as error:
        file.with_suffix(".refused").write_text(repr(error))
