"""A peer: Metaflow's content-addressed store in a folder."""

import sys

from metaflow.datastore.content_addressed_store import ContentAddressedStore
from metaflow.plugins.datastores.local_storage import LocalStorage
from peer_loop import serve

STORE = ContentAddressedStore("data", LocalStorage(sys.argv[1]))


def store(data):
    (saved,) = STORE.save_blobs([data])
    return saved.key


def get(key):
    ((_, data),) = STORE.load_blobs([key])
    return data


serve(store, get)
