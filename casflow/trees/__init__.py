"""Trees: a folder as a listing of its files, whose contents lie in packs."""

from casflow.trees.listing import Entry, Listing

__all__ = ["Entry", "Listing"]
