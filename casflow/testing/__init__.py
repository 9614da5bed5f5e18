"""Tests that every backend must pass, shipped for those who write one.

Derive a class from one of these, say where a fresh store comes from, and let pytest collect it.
"""

from __future__ import annotations

from casflow.testing.blobs import BlobStoreTests, Raw

__all__ = ["BlobStoreTests", "Raw"]
