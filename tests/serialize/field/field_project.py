"""A script that uses a package and modules of its project in all the usual ways."""

import functools
import sys

import common_things as ct
import warehouse
import warehouse.io_.drivers as drv
import warehouse.models as m
import warehouse.settings
from common_things import *
from warehouse import SETTINGS, Base, get_settings, open_store
from warehouse import settings as conf
from warehouse.base import Result, registry
from warehouse.io_ import drivers
from warehouse.models import Line, Order, Pay, State, paid

try:
    import ujson_that_is_not_there as fastjson
except ImportError:
    import json as fastjson

try:
    from warehouse.nowhere import extra
except ImportError:
    extra = None


class Ship(Base):
    kind = "ship"

    def run(self, order):
        order.state = State.PAID
        return order


class Audited(Pay, Ship):
    seen = []

    def run(self, order):
        self.seen.append(order.id)
        return super().run(order)


class MyState:
    initial = State.NEW
    table = {State.NEW: Pay, State.PAID: Ship}


def total(n=2):
    return Order(1, [Line(str(i), conf.ZERO + i) for i in range(n)]).total


def pays():
    done = paid(Order(1))
    return done.value.state, done.error


def debugs():
    warehouse.settings.DEBUG = True
    try:
        return conf.debug(), warehouse.settings.debug()
    finally:
        conf.DEBUG = False


def overrides():
    return conf.override(retries=5).retries, get_settings().retries


def stores():
    with open_store() as s, warehouse.open_store("memory:") as t:
        return s.rows(), t.rows()


def kinds():
    return sorted(registry), sorted(warehouse.registry)


def same_registry():
    return registry is warehouse.registry, registry["Ship"] is Ship


def lazy():
    return warehouse.lazy_part


def late_relative():
    from warehouse.late import helper

    return helper(3)


def late_module():
    import warehouse.late as l

    return l.helper(1), l.PART


def late_package():
    import warehouse.late

    return warehouse.late.PART


def star():
    return dump({"b": 1, "a": COLUMNS}), shout("a"), Clock.today()


@ct.retrying(2)
def flaky(x):
    return ct.shout(x)


def patched():
    import datetime

    ct.Clock.fixed = datetime.date(2020, 1, 1)
    try:
        return Clock.today()
    finally:
        ct.Clock.fixed = None


def fast():
    return fastjson.dumps([extra])


def version():
    return warehouse.__version__, warehouse.__name__


def by_string(name="Order"):
    return getattr(m, name)(3).id


def in_sys_modules():
    return "json" in sys.modules


def finds():
    return drivers.find("sqlite:x") is drv.Sqlite, drv.by_name("dumps")([1])


def passes_module(mod=ct):
    return mod.COLUMNS


def modules_in_dict():
    return {k: v.__name__.rpartition(".")[2] for k, v in MODULES.items()}


MODULES = {"ct": ct, "drv": drv}
part = functools.partial(paid, Order(7, [Line("a")]))
an_order = Order(1, [Line("x"), Line("y")])
settings_obj = SETTINGS
described = Ship.described
method = Pay().run
result = Result(State.PAID)
sets = {State.NEW, State.PAID}
of_helper = ct.dump
cls_of_helper = ct.Clock
CASES = {
    "Ship": "x().run(__import__('types').SimpleNamespace()).state.name, x.kind",
    "Audited": "x.__mro__[1].__name__, x.seen",
    "MyState": "[c.__name__ for c in x.table.values()], x.initial.name",
    "total": "x()",
    "pays": "x()[0].name, x()[1]",
    "debugs": "x()",
    "overrides": "x()",
    "stores": "x()",
    "kinds": "x()",
    "same_registry": "x()",
    "lazy": "x()",
    "late_relative": "x()",
    "late_module": "x()",
    "late_package": "x()",
    "star": "x()",
    "flaky": "x('a')",
    "patched": "x()",
    "fast": "x()",
    "version": "x()",
    "by_string": "x()",
    "in_sys_modules": "x()",
    "finds": "x()",
    "passes_module": "x()",
    "modules_in_dict": "x()",
    "part": "x().value.id",
    "an_order": "x.lines[0].order is x, x.total",
    "settings_obj": "x.retries, sorted(x.tags)",
    "described": "x().rpartition('.')[2]",
    "method": "x(__import__('types').SimpleNamespace(state=type(x.__self__).run and __import__('types').SimpleNamespace(next=1))).state",
    "result": "x.value.name",
    "sets": "sorted(s.name for s in x)",
    "of_helper": "x([1])",
    "cls_of_helper": "x.today()",
}

if __name__ == "__main__":
    from reporting import report

    report(globals())
