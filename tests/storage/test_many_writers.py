"""Sixteen processes register at the same moment, on each object store."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.service

WRITERS = 16
# The children are forked from a process that used the store, and wait for each other.
REGISTER = """\
import json, multiprocessing, sys, warnings
from casflow import Flow, Parameter, task
from casflow.storage import Azure, GCS, S3

warnings.simplefilter("ignore", DeprecationWarning)

def register(number, barrier, answers):
    try:
        @task
        def times(value, factor=number):
            return factor * value

        with Flow("flow" if {same} else f"flow {{number}}", storage={storage}) as flow:
            times(Parameter("value", default=21))
        barrier.wait(60)
        done = flow.register()
        answers.put([done.status, done.location, done.digest])
    except BaseException as error:
        answers.put([repr(error), "", ""])

{storage}.open_store().find("nothing")
context = multiprocessing.get_context("fork")
barrier, answers = context.Barrier({writers}), context.Queue()
numbers = [1 if {same} else number for number in range({writers})]
children = [context.Process(target=register, args=(n, barrier, answers)) for n in numbers]
for child in children:
    child.start()
print(json.dumps([answers.get(timeout=120) for _ in children]))
for child in children:
    child.join()
"""


def register_at_once(home, cloud, *, same):
    code = REGISTER.format(storage=cloud.source, writers=WRITERS, same=same)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**home.environment, **cloud.environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_same_flow_is_stored_once(home, cloud):
    answers = register_at_once(home, cloud, same=True)
    assert sorted(status for status, _, _ in answers) == ["registered"] + ["unchanged"] * 15
    assert len({location for _, location, _ in answers}) == 1
    assert len(cloud.references()) == 1
    reference = json.loads(cloud.read(cloud.references()[0]))
    blobs = 1 + len(reference["attachments"])
    assert len(cloud.blobs()) == blobs


def test_different_flows_are_stored_each(home, cloud):
    answers = register_at_once(home, cloud, same=False)
    assert [status for status, _, _ in answers] == ["registered"] * WRITERS
    assert len({digest for _, _, digest in answers}) == WRITERS
    assert len(cloud.references()) == WRITERS
    references = [json.loads(cloud.read(key)) for key in cloud.references()]
    assert {each["digest"] for each in references} == {digest for _, _, digest in answers}
    attached = {part["digest"] for each in references for part in each["attachments"].values()}
    assert len(cloud.blobs()) == WRITERS + len(attached)
