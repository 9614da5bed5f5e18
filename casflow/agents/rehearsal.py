"""The rehearsal of a forked child: it runs a flow of ours while it waits for its order.

After a fork, memory is copied page by page as it is touched, which takes longer than all that a
warm run does; here that happens before anybody waits. Owns that flow. Invariant: nothing of a
user's flow takes part, nothing is read or written, and only the child that rehearses changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from casflow.flow import Flow, Parameter, task
from casflow.serialize import deserialize, serialize
from casflow.storage.known import load

if TYPE_CHECKING:
    from collections.abc import Callable

_STORAGE = {"type": "Local", "directory": "/", "stored_as_script": False, "secrets": []}


def prepare() -> Callable[[], None]:
    """Return the rehearsal."""

    @task
    def repeat(word: str) -> str:
        return word

    with Flow("Rehearsal") as flow:
        repeat(Parameter("word", default="again"))
    made = serialize(flow)

    def rehearse() -> None:
        load(_STORAGE)
        deserialize(made.data, attachments=made.attachments).run(parameters={"word": "once"})

    return rehearse
