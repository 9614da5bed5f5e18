"""Reports: whole or none, whatever a flow writes where its report belongs."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from casflow.agents.report import Report, ReportFile
from casflow.registry import RunState

if TYPE_CHECKING:
    from tests.agents.conftest import House

GOOD = {"state": "Success", "message": "done", "outcome": {"seconds": 1.5}}


def test_a_report_is_read_as_it_was_written() -> None:
    report_file = ReportFile()
    assert report_file.find() is None
    report = Report(RunState.FAILED, "odd: \udcff \0", {"big": "x" * 200_000})
    report.write(report_file.fileno())
    assert report_file.find() == report
    assert report_file.find() == report


@pytest.mark.parametrize(
    "written",
    [
        "null",
        "{}",
        json.dumps(GOOD)[:-1],
        "x" + json.dumps(GOOD),
        json.dumps(GOOD | {"state": "Running"}),
        json.dumps(GOOD | {"state": 1}),
        json.dumps(GOOD | {"message": None}),
        json.dumps(GOOD | {"outcome": []}),
        json.dumps(GOOD | {"more": 1}),
        json.dumps(GOOD | {"outcome": {"nan": float("nan")}}),
        "[" * 100_000,
    ],
)
def test_what_is_no_report_is_none(written: str) -> None:
    report_file = ReportFile()
    os.write(report_file.fileno(), written.encode())
    assert report_file.find() is None


def test_bytes_that_are_no_text_are_no_report() -> None:
    report_file = ReportFile()
    os.write(report_file.fileno(), b"\xff\xfe")
    assert report_file.find() is None


def test_a_flow_that_scribbles_on_its_report_fails(house: House) -> None:
    run = house.ask("""
        import os, stat
        for name in os.listdir("/proc/self/fd"):
            if stat.S_ISREG(os.stat(f"/proc/self/fd/{name}").st_mode):
                os.write(int(name), b"no report")
    """)
    house.work()
    done = house.registry.get_run(run.id)
    assert done.state == RunState.FAILED
    assert done.message.endswith("its process ended by exit code 0")


def test_a_message_that_is_no_text_is_kept_as_far_as_it_is(house: House) -> None:
    run = house.ask(r"raise ValueError('odd: \udcff end')")
    house.work()
    assert house.registry.get_run(run.id).message.endswith("odd: ? end)")
