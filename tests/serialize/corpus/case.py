"""The list of cases of one corpus file, and the report of what they become."""

# ruff: noqa: B007

import json
import sys
from pathlib import Path


class Cases(dict):
    """Objects by name, each with an expression that shows how `x` behaves."""

    def add(self, name, obj, probe="x()"):
        assert name not in self, name
        self[name] = (obj, probe)
        return obj

    def report(self):
        """Write digests (and blobs, when a folder is named) of all cases."""
        from casflow.digests import digest_of
        from casflow.serialize import serialize

        out = Path(sys.argv[1])
        found = {}
        for name, (obj, probe) in self.items():
            try:
                result = serialize(obj)
                again = serialize(obj)
            except Exception as error:
                found[name] = f"{type(error).__name__}: {error}"
                continue
            found[name] = digest_of(result.data)
            if any("stored as pickled" in each for each in result.warnings):
                found[name] += f" {result.warnings}"
            if again.data != result.data:
                found[name] += " and another one the second time"
            if len(sys.argv) > 2:
                folder = Path(sys.argv[2])
                (folder / f"{name}.pickle").write_bytes(result.data)
                (folder / f"{name}.map").write_bytes(result.attachments.get("source_map", b""))
        if len(sys.argv) > 2:
            self.try_out(folder)
        known = json.loads(out.read_text()) if out.exists() else {}
        out.write_text(json.dumps(known | found))

    def try_out(self, folder):
        """Write how each object behaves."""
        for name, (obj, probe) in self.items():
            found = [probe, repr(eval(probe, {"x": obj}))]
            (folder / f"{name}.probe").write_text(json.dumps(found))
