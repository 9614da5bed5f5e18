"""The public door: trees and blobs in a store, by name and digest."""

from casflow.store.leases import finish_leases
from casflow.store.origins import origin_of
from casflow.store.records import Blob, Version
from casflow.store.store import Store
from casflow.trees.listing import Entry, Listing
from casflow.trees.tags import TagMove

__all__ = ["Blob", "Entry", "Listing", "Store", "TagMove", "Version", "finish_leases", "origin_of"]
