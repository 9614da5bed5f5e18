"""A peer: dvc-data's own collection over a local object database.

["fill", folder, objects]      write so many objects, laid out as DVC does
["gc", folder, used]           a dry run in which the first so many are used; returns seconds
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path


def names(objects):
    return [hashlib.md5(b"blob %d" % number).hexdigest() for number in range(objects)]


def fill(folder, objects):
    for number, name in enumerate(names(objects)):
        path = Path(folder, name[:2], name[2:])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"blob %d" % number)
    return objects


def collect(folder, used):
    from dvc_data.hashfile.db.local import LocalHashFileDB
    from dvc_data.hashfile.gc import gc
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_objects.fs.local import LocalFileSystem

    database = LocalHashFileDB(LocalFileSystem(), folder)
    roots = [HashInfo("md5", name) for name in names(used)]
    started = time.perf_counter()
    gc(database, roots, dry=True)
    return time.perf_counter() - started


for line in sys.stdin:
    what, *arguments = json.loads(line)
    print(json.dumps({"fill": fill, "gc": collect}[what](*arguments)), flush=True)
