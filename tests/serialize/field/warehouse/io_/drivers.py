import importlib
import threading

_found = {}
_lock = threading.Lock()


def driver(scheme):
    def deco(cls):
        _found[scheme] = cls
        cls.scheme = scheme
        return cls

    return deco


@driver("sqlite")
class Sqlite:
    closed = False

    def rows(self):
        import sqlite3

        return sqlite3.connect(":memory:").execute("select 1").fetchall()


@driver("memory")
class Memory(Sqlite):
    def rows(self):
        return [(2,), *super().rows()]


def find(url):
    with _lock:
        return _found[url.partition(":")[0]]


def by_name(name):
    return getattr(importlib.import_module("json"), name)
