"""Every example of the page constructs, round-trips, and the local ones register and run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from casflow.reference import slug
from casflow.storage import load
from tests.seed_page import EXAMPLES, flow_of


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_constructs_and_round_trips(home, example):
    storage = flow_of(example).storage
    form = json.loads(json.dumps(storage.serialize()))
    assert "<my-connection-string>" not in json.dumps(form)
    again = load(form)
    assert type(again) is type(storage)
    assert again.serialize() == form


@pytest.mark.parametrize("example", ["constructor", "attribute", "Local"])
def test_a_local_example_stands_at_slug_and_timestamp_below_home(home, example):
    flow = flow_of(example)
    done = flow.register()
    location = Path(done.location)
    assert location.parent == home.path / "flows" / slug(flow.name)
    assert location.is_file()
    assert flow.storage.get_flow(flow.name).run().is_successful()
