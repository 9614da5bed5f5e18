"""Flow to bytes, the same in every process; bytes to flow.

Owns the one form in which objects are stored. Invariant: the bytes are an ordinary pickle of
protocol 5 that plain `pickle.loads` reads, and the same definition gives the same bytes whatever
the process, folder, hash seed or import order; where that cannot be had, a warning says so, and
the bytes still mean what was put in.

Loading needs none of what serializing does. Three steps of the latter: `pickler` (live objects to
a stream), `parse`, `normalize` and `ordering` (the stream as a graph, without what differs by
chance), `emit` (the graph as bytes). What the bytes leave out and tracebacks need is the source
map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from casflow.lazy import lazily

if TYPE_CHECKING:
    from casflow.serialize.canonical import Serialized, digest, dumps, serialize
    from casflow.serialize.difference import Difference, explain
    from casflow.serialize.environment import versions
    from casflow.serialize.load import deserialize, loads
    from casflow.serialize.nondeterminism import UnstableValue, find_unstable

__all__ = [
    "Difference",
    "Serialized",
    "UnstableValue",
    "deserialize",
    "digest",
    "dumps",
    "explain",
    "find_unstable",
    "loads",
    "serialize",
    "versions",
]

__getattr__ = lazily(
    __name__,
    {
        "Difference": "casflow.serialize.difference",
        "Serialized": "casflow.serialize.canonical",
        "UnstableValue": "casflow.serialize.nondeterminism",
        "deserialize": "casflow.serialize.load",
        "digest": "casflow.serialize.canonical",
        "dumps": "casflow.serialize.canonical",
        "explain": "casflow.serialize.difference",
        "loads": "casflow.serialize.load",
        "serialize": "casflow.serialize.canonical",
        "find_unstable": "casflow.serialize.nondeterminism",
        "versions": "casflow.serialize.environment",
    },
)
