"""Results: where the values that tasks return are kept.

Owns the public names. Invariant: a result that was read or written is a new object; the one that
a flow was built with never changes and never holds a client when it is pickled.
"""

from __future__ import annotations

from casflow.results.azure import AzureResult
from casflow.results.base import Result
from casflow.results.gcs import GCSResult
from casflow.results.local import LocalResult
from casflow.results.s3 import S3Result
from casflow.results.serializers import JSONSerializer, PickleSerializer, Serializer
from casflow.results.store import StoreResult

__all__ = [
    "AzureResult",
    "GCSResult",
    "JSONSerializer",
    "LocalResult",
    "PickleSerializer",
    "Result",
    "S3Result",
    "Serializer",
    "StoreResult",
]
