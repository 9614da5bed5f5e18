"""An engine's lines: progress for people, errors of the right kind."""

from __future__ import annotations

import pytest

from casflow.errors import AccessError, ConfigError, NotFoundError, TransferError, UnavailableError
from casflow.storage.docker.stream import build_error, read_stream, transfer_error


def test_lines_of_every_kind_are_shown_and_unknown_ones_passed_over():
    shown = []
    result = read_stream(
        [
            {"stream": "Step 1/2\n"},
            {"stream": "\n"},
            {"status": "Pushing", "id": "a1", "progress": "[=>  ]"},
            {"status": "done", "progressDetail": {}},
            {"message": "hello"},
            {"unknown": 1},
            {},
            b"bytes",
            {"aux": {"ID": "sha256:1"}},
            {"aux": {"Tag": "t", "Digest": "sha256:2"}},
        ],
        shown.append,
    )
    assert shown == ["Step 1/2", "a1 Pushing [=>  ]", "done", "hello"]
    assert result == {"said": "", "ID": "sha256:1", "Tag": "t", "Digest": "sha256:2"}


@pytest.mark.parametrize(
    "line",
    [{"error": "bad\n"}, {"errorDetail": {"message": "bad"}}, {"error": "bad", "errorDetail": {}}],
)
def test_a_line_that_names_an_error_is_told(line):
    lines = [
        {"stream": "Step 1/2 : RUN x"},
        {"stream": "\x1b[91mwhy\n\x1b[0m"},
        {"stream": " ---> a1\n"},
        line,
    ]
    assert read_stream(lines, lambda _: None) == {"said": "why", "error": "bad"}


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("error parsing HTTP 403 response body: invalid character", AccessError),
        ("unauthorized: authentication required", AccessError),
        ("denied: requested access to the resource is denied", AccessError),
        ("manifest for a:b not found: manifest unknown", NotFoundError),
        ("write /var/x: no space left on device", UnavailableError),
        ("unexpected EOF", TransferError),
    ],
)
def test_a_failed_transfer_is_the_right_error(reason, kind):
    error = transfer_error(reason, "a:b")
    assert type(error) is kind
    assert "a:b" in str(error)


def test_a_failed_build_is_a_value_error_but_for_a_full_disk():
    assert isinstance(transfer_error("EOF", "a"), InterruptedError)
    assert isinstance(build_error("exit code: 1", "a"), ValueError)
    assert "failed to build" in str(build_error("exit code: 1", "a"))
    assert type(build_error("no space left on device", "a")) is UnavailableError
    assert issubclass(ConfigError, ValueError)


def test_a_full_disk_is_told_whatever_a_step_says_after_it():
    lines = [{"stream": "dd: No space left on device"}, {"stream": "15+0 records out"}]
    said = read_stream(lines, lambda _: None)["said"]
    assert type(build_error(f"exit code: 1: {said}", "a")) is UnavailableError
