"""A peer: dvc-data's own collection over an object database in a folder or a bucket.

["fill", place, objects]      write so many objects, as DVC does
["gc", place, used]           a dry run in which the first so many are used; returns seconds
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time

from dvc_data.hashfile.db import get_odb
from dvc_data.hashfile.gc import gc
from dvc_data.hashfile.hash_info import HashInfo
from dvc_objects.fs.local import LocalFileSystem
from dvc_s3 import S3FileSystem

logging.disable(logging.INFO)  # a line on standard output for each object that would go


def contents(objects):
    return (b"blob %d" % number for number in range(objects))


def name(data):
    return hashlib.md5(data).hexdigest()


def opened(place):
    path = place.removeprefix("s3://")
    return get_odb(LocalFileSystem() if path == place else S3FileSystem(), path)


def fill(place, objects):
    database = opened(place)
    for data in contents(objects):
        database.add_bytes(name(data), data)
    return objects


def collect(place, used):
    database = opened(place)
    roots = [HashInfo("md5", name(data)) for data in contents(used)]
    started = time.perf_counter()
    gc(database, roots, dry=True)
    return time.perf_counter() - started


for line in sys.stdin:
    what, *arguments = json.loads(line)
    print(json.dumps({"fill": fill, "gc": collect}[what](*arguments)), flush=True)
