"""A module that lies beside the scripts and is not installed."""

# ruff: noqa: N818

import json
from functools import lru_cache

FACTOR = 3
WORDS = {"one", "two", "three", None}


def clean(value):
    return value * FACTOR


def words():
    return sorted(WORDS, key=str)


@lru_cache(maxsize=16)
def cached(value):
    return json.dumps(value)


class Cleaner:
    tags = frozenset({"x", "y", "z"})

    def __init__(self, factor):
        self.factor = factor

    def run(self, value):
        return clean(value) + self.factor, sorted(self.tags)


class Odd(Exception):
    pass
