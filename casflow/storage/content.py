"""Flows as bytes: what a registration stores of a flow, and a flow made of verified bytes again.

Owns the choice by media type: a pickle, a script, a bundle, an installed module. Invariant: bytes
come in here only after their digest was verified; a script is stored as the bytes of its file,
untouched.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from casflow.blobs.content import Draft, named
from casflow.errors import ConfigError, IntegrityError, LoadError, os_errors
from casflow.redaction import find_leak
from casflow.reference import BUNDLE, MODULE, PICKLE, SCRIPT, Reference, check_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.digests import Buffer
    from casflow.flow import Flow

logger = logging.getLogger(__name__)

BARE = "bare_script"  # the key, in a reference to a script that lies there by itself


def draft_pickle(flow: Flow, labels: tuple[str, ...]) -> Draft:
    """Return what is stored of a flow as a pickle."""
    from casflow.serialize import serialize

    made = serialize(flow)
    for warning in made.warnings:
        logger.warning("flow %s: %s", name_of(flow), warning)
    _check_secrets(flow, made.data, *made.attachments.values())
    return Draft(name_of(flow), made.data, PICKLE, labels, made.attachments, made.environment)


def draft_script(
    flow: Flow, path: Path, labels: tuple[str, ...], data: bytes | None = None
) -> Draft:
    """Return what is stored of a flow as a script: the bytes of its file as they are now.

    Args:
        flow: The flow.
        path: The file.
        labels: Labels of the registration.
        data: Its bytes, where the file is not on this machine.
    """
    from casflow.serialize import versions

    if data is None:
        with os_errors(path):
            data = path.read_bytes()
    try:
        compile(data, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"not a Python script ({error})", where=path) from error
    _check_secrets(flow, data)
    return Draft(name_of(flow), data, SCRIPT, labels, {}, {**versions(), "script": path.name})


def _check_secrets(flow: Flow, data: bytes, *attachments: bytes) -> None:
    """Refuse what would be stored with the value of a secret in it, for every reader to see.

    Raises:
        ConfigError: It holds one; the message says where.
    """
    for each in (data, *attachments):
        secret = find_leak(each)
        if secret is not None:
            hint = "look it up with Secret(...).get() inside of a task"
            what = "the flow holds the value of a secret"
            place = _place(each, secret.encode())
            raise ConfigError(what, where=f"{name_of(flow)}, {place}", hint=hint)


def _place(data: bytes, wanted: bytes) -> str:
    from casflow.serialize.paths import find_path

    path = find_path(data, wanted)
    line = data.count(b"\n", 0, data.index(wanted)) + 1
    return path or f"line {line}"


def script_reference(flow: str, data: bytes, key: str) -> Reference:
    """Return a reference to a script that a user put under a key, without casflow."""
    from casflow.serialize import versions

    environment = {**versions(), "script": key.rpartition("/")[2]}
    draft = Draft(flow, data, SCRIPT, environment=environment)
    made = draft.reference(datetime.now(UTC), {"": named(data)})
    return replace(made, extra={BARE: key})


def flow_from_bytes(
    reference: Reference, data: Buffer, attachments: Mapping[str, bytes], *, where: str
) -> Flow:
    """Return the flow of verified bytes.

    Raises:
        LoadError: They do not become a flow here.
        IntegrityError: Their media type is not known.
    """
    if reference.media_type == SCRIPT:
        from casflow.flow.script import flow_from_script

        name = str(reference.environment.get("script", "flow.py"))
        return flow_from_script(bytes(data), reference.flow, path=str(Path(where).parent / name))
    if reference.media_type == BUNDLE:
        from casflow.flow.bundle import flow_from_bundle

        return flow_from_bundle(bytes(data), reference.flow, where=where)
    if reference.media_type == MODULE:
        from casflow.flow.script import flow_from_module

        return flow_from_module(str(reference.environment.get("module")), reference.flow)
    if reference.media_type != PICKLE:
        raise IntegrityError(f"unknown media type {reference.media_type!r}", where=where)
    return _flow_from_pickle(reference, data, attachments, where)


def _flow_from_pickle(
    reference: Reference, data: Buffer, attachments: Mapping[str, bytes], where: str
) -> Flow:
    from casflow.flow.foreign import flow_name
    from casflow.serialize import deserialize

    flow: Any = deserialize(data, attachments=attachments, environment=reference.environment)
    if flow_name(flow) != reference.flow:
        what = f"expected the flow {reference.flow!r}, found {flow_name(flow)!r}"
        raise LoadError(what, where=where)
    return cast("Flow", flow)


def name_of(flow: Any) -> str:
    """Return the name of anything that can be stored as a flow: its `name`, or a function's own.

    Raises:
        ConfigError: It has none that could be the name of a flow.
    """
    from casflow.flow.foreign import flow_name

    return check_name(flow_name(flow))
