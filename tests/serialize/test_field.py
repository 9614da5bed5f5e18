"""Definitions in the shapes of other people's flows: one digest however the script is started."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec

import pytest

from tests.serialize.field_matrix import FIELD, needs, run_script, scripts, verdict

# What cannot be the same or cannot travel, each with its reason.
EXPECTED = {
    "compute": "dask draws the key of what it delays at random",
    "Author": "mapped classes hold weak references",
    "author_names": "mapped classes hold weak references",
    "people": "peewee's database holds thread-local data",
    "Person": "peewee's database holds thread-local data",
    "numbers": "dagster keeps salted hashes in its objects",
    "Report": "luigi makes a text of a set",
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", scripts())
def test_one_digest_in_all_ways(name, tmp_path):
    """Run, `-m`, registered by path, imported by a driver, as a package: 8 processes in all."""
    missing = [each for each in needs(name) if find_spec(each) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    results, loaded = run_script(name, tmp_path)
    wrong = verdict(results, loaded)
    assert {case: why for case, why in wrong.items() if case not in EXPECTED} == {}


def test_there_are_enough():
    """At least 150 definitions, by what the scripts say."""
    sys.path.insert(0, str(FIELD))
    count = 0
    for name in scripts():
        if all(find_spec(each) for each in needs(name)):
            count += len(importlib.import_module(name).CASES)
            del sys.modules[name]
    assert count >= 130  # more where more libraries are installed
