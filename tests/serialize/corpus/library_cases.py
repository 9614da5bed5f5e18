"""Objects of numpy and pydantic, and by-value use of their classes."""

import enum

import numpy as np
import pydantic
from case import Cases

cases = Cases()
add = cases.add
FIELD = np.arange(12).reshape(3, 4)
BIG = np.arange(20_000, dtype="float64")

add("array", FIELD, "x.sum()")
add("array_big", [BIG, BIG], "x[0] is x[1], x[0].sum()")
add("array_fortran", np.asfortranarray(np.ones((200, 100))), "x.flags.f_contiguous")
add("array_view", FIELD[:, ::2], "x.tolist()")
add("array_of_text", np.array(["a", "bb"]), "x.tolist()")
add("array_of_objects", np.array([{"a"}, None, "x"], dtype=object), "x[2]")
add("array_structured", np.zeros(2, dtype=[("a", "i4"), ("b", "f8")]), "x.dtype.names")
add("array_dates", np.array(["2020-01-01"], dtype="M8[ns]"), "str(x[0])")
add("array_scalar", [np.float64(1.5), np.int8(3), np.bool_(True)], "x[0] + 1")
add("dtypes", [np.dtype("f8"), np.dtype("f8"), np.dtype(">i4"), np.dtype("M8[D]")], "x[0] == x[1]")
add("ufuncs", [np.add, np.sin, np.add], "x[0](1, 2)")
add("rng_seeded", np.random.default_rng(3), "x.integers(10)")
add("masked", np.ma.masked_array([1, 2], mask=[True, False]), "x.sum()")


def uses_numpy(x):
    return np.linalg.norm(x), np.random.default_rng(1).integers(5), FIELD.sum()


add("uses_numpy", uses_numpy, "x([3, 4])[0]")


class Grade(enum.Enum):
    A = 1
    B = 2


class Item(pydantic.BaseModel):
    name: str
    grade: Grade = Grade.A
    tags: set[str] = {"x", "y", "z"}


class Order(pydantic.BaseModel):
    items: list[Item] = []
    note: str | None = None

    @pydantic.field_validator("note")
    @classmethod
    def short(cls, value):
        return value and value[:10]


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")
    size: int = pydantic.Field(gt=0, default=1, description="How big.")


class Tree(pydantic.BaseModel):
    name: str = "t"
    children: list["Tree"] = []


add("model", Item, "sorted(x(name='n').tags)")
add("model_instance", Item(name="n"), "x.grade.name")
add("model_nested", Order, "x(items=[{'name': 'a'}]).items[0].name")
add("model_nested_instance", Order(items=[Item(name="i")], note="long" * 9), "x.note")
add("model_strict", Strict, "x().size")
add("model_recursive", Tree, "x(children=[{'name': 'c'}]).children[0].name")


def uses_models(n):
    return Order(items=[Item(name="a")] * n).model_dump(
        mode="json", exclude={"items": {"__all__": {"tags"}}}
    )


add("uses_models", uses_models, "x(2)")


@pydantic.dataclasses.dataclass
class Checked:
    n: int


add("pydantic_dataclass", Checked, "x('3').n")

if __name__ == "__main__":
    cases.report()
