"""The warm-up of a forked child: it runs a built-in flow while it waits for its run.

After a fork, memory is copied page by page as it is touched, which takes longer than all that a
warm run does; here that happens before anybody waits. Owns that flow. Invariant: nothing of a
user's flow takes part, nothing is read or written, and only that child changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from casflow.flow import Flow, Parameter, task
from casflow.serialize import deserialize, serialize
from casflow.storage.plugins import load

if TYPE_CHECKING:
    from collections.abc import Callable

_STORAGE = {"type": "Local", "directory": "/", "stored_as_script": False, "secrets": []}


def make_warm_up() -> Callable[[], None]:
    """Return a function that runs the built-in flow once."""

    @task(checkpoint=False)
    def repeat(word: str) -> str:
        return word

    with Flow("Warm-up") as flow:
        repeat(Parameter("word", default="again"))
    made = serialize(flow)

    def warm_up() -> None:
        load(_STORAGE)
        deserialize(made.data, attachments=made.attachments).run(parameters={"word": "once"})

    return warm_up
