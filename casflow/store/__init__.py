"""The public door: trees and blobs in a store, by name and digest."""

from casflow.store.records import Blob, Version
from casflow.store.store import LEASING, Store, origin_of
from casflow.trees.listing import Entry, Listing
from casflow.trees.versions import TagMove

__all__ = ["LEASING", "Blob", "Entry", "Listing", "Store", "TagMove", "Version", "origin_of"]
