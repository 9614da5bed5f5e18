"""Flow to bytes, the same in every process; bytes to flow.

Owns the one form in which objects are stored. Invariant: the bytes are an ordinary pickle of
protocol 5 that plain `pickle.loads` reads, and the same definition gives the same bytes whatever
the process, folder, hash seed or import order; where that cannot be had, a warning says so, and
the bytes still mean what was put in.

Three steps: `pickler` (live objects to a stream), `parse`, `rules` and `ordering` (the stream as
a graph, without what differs by chance), `emit` (the graph as bytes). What the bytes leave out
and tracebacks need is the source map.
"""

from __future__ import annotations

from casflow.serialize.canonical import Serialized, digest, dumps, serialize
from casflow.serialize.environment import versions
from casflow.serialize.explain import Difference, explain
from casflow.serialize.load import deserialize, loads
from casflow.serialize.suspects import Suspect, suspects

__all__ = [
    "Difference",
    "Serialized",
    "Suspect",
    "deserialize",
    "digest",
    "dumps",
    "explain",
    "loads",
    "serialize",
    "suspects",
    "versions",
]
