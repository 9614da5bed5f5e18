"""A small part of the mass test; `python -m tests.serialize.mass` runs all of it."""

from __future__ import annotations

import pytest

from tests.serialize.mass.__main__ import main

PACKAGES = ("plistlib", "statistics", "toolz", "itsdangerous", "ipaddress")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sample_has_one_digest_and_loads_as_well_as_with_cloudpickle(capsys):
    """At least 97 of 100 that cloudpickle can dump; none loads worse than with it."""
    arguments = [*PACKAGES, "--each", "12", "--processes", "2", "--mutations", "0"]
    assert main(arguments) == 0, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_changed_programs_have_other_digests(capsys):
    """Constants, operators, defaults, decorators, members, overrides, slots."""
    arguments = [*PACKAGES[:3], "--each", "0", "--mutations", "60"]
    assert main(arguments) == 0, capsys.readouterr().out
