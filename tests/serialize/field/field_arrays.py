"""Arrays, graphs and lazy work as people write them with numpy, dask and networkx."""

from functools import partial

import dask
import dask.bag as db
import networkx as nx
import numpy as np
import numpy.typing as npt
import yaml
from dask import delayed
from numpy import linalg, random
from numpy.random import default_rng, normal

WEIGHTS = np.linspace(0, 1, 5)
LOOKUP = {np.int64(1): "a", "b": np.float32(2)}
DTYPE = np.dtype([("id", "i8"), ("name", "U10")])
rng = default_rng(7)
Vector = npt.NDArray[np.float64]


def scale(values: Vector, weights=WEIGHTS) -> Vector:
    return np.asarray(values) * weights[: len(values)]


def noise(n=3, seed=0):
    return default_rng(seed).normal(size=n).round(3).tolist()


def global_noise():
    return len(normal(size=2)), len(random.rand(2)), linalg.norm([3, 4])


@np.vectorize
def clip(v):
    return min(max(v, 0), 1)


class Model:
    def __init__(self, coefficients=np.zeros(2)):
        self.coefficients = np.array(coefficients)
        self.history = []

    def fit(self, x, y):
        self.coefficients, *_ = np.linalg.lstsq(np.asarray(x), np.asarray(y), rcond=None)
        return self

    def predict(self, x):
        return np.asarray(x) @ self.coefficients


model = Model([1.0, 2.0])


class Labelled(np.ndarray):
    def __new__(cls, values, label=None):
        made = np.asarray(values).view(cls)
        made.label = label
        return made

    def __array_finalize__(self, obj):
        self.label = getattr(obj, "label", None)


@delayed
def inc(x):
    return x + 1


@delayed(pure=True)
def total(xs):
    return sum(xs)


lazy = total([inc(n) for n in range(3)])


def compute(n=3):
    return dask.compute(total([inc(k) for k in range(n)]), scheduler="sync")[0]


def bag_total():
    return (
        db.from_sequence([1, 2, 3], npartitions=1)
        .map(lambda v: v * 2)
        .sum()
        .compute(scheduler="sync")
    )


graph = nx.DiGraph([("a", "b"), ("b", "c")])
graph.add_node("d", weight=3, tags={"x", "y"})


def order(g=graph):
    return list(nx.lexicographical_topological_sort(g))


class Loader(yaml.SafeLoader):
    pass


def _env(loader, node):
    return loader.construct_scalar(node).upper()


Loader.add_constructor("!env", _env)


def read(text="a: !env b"):
    return yaml.load(text, Loader)


pipeline = [partial(np.clip, a_min=0, a_max=1), np.sqrt, np.ufunc.reduce, np.add.reduce]
masks = {"small": np.array([True, False]), "dates": np.array(["2024-01-01"], "M8[D]")}

CASES = {
    "scale": "x([1, 2]).tolist()",
    "noise": "x()",
    "global_noise": "x()",
    "clip": "x([2, -1]).tolist()",
    "Model": "x().fit([[1, 0], [0, 1]], [1, 2]).predict([[1, 1]]).round(6).tolist()",
    "model": "x.predict([1, 1])",
    "Labelled": "x([1], 'a').label, x([1, 2], 'b')[:1].label",
    "LOOKUP": "x[1], x['b']",
    "DTYPE": "x.names",
    "rng": "x.integers(100)",
    "inc": "type(x).__name__",
    "compute": "x()",
    "bag_total": "x()",
    "graph": "sorted(x.edges), sorted(x.nodes['d']['tags'])",
    "order": "x()",
    "Loader": "x.__name__",
    "read": "x()",
    "pipeline": "x[0]([2, 0.5]).tolist()",
    "masks": "x['small'].sum()",
}

if __name__ == "__main__":
    from reporting import report

    report(globals())
