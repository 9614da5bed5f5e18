"""A peer: DVC's local object database, with its own check before a read."""

import sys
from pathlib import Path

from dvc_data.hashfile.db.local import LocalHashFileDB
from dvc_data.hashfile.hash import hash_file
from dvc_objects.fs.local import LocalFileSystem
from peer_loop import serve

FOLDER = Path(sys.argv[1])
FS = LocalFileSystem()
DATABASE = LocalHashFileDB(FS, str(FOLDER / "objects"))


def store(data):
    path = FOLDER / "workspace"
    path.write_bytes(data)
    _, digest = hash_file(str(path), FS, "md5")
    DATABASE.add(str(path), FS, digest.value)
    return digest.value


def get(key):
    DATABASE.check(key)
    return Path(DATABASE.oid_to_path(key)).read_bytes()


FOLDER.mkdir(parents=True, exist_ok=True)
serve(store, get)
