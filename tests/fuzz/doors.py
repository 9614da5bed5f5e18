"""The doors: what reads bytes that others made, each with a sound example.

Invariant: a door takes any bytes at all, and either reads them or raises a `CasflowError` whose
exit code is not 1; nothing else may come out.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from base64 import b64decode, b64encode
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow import config
from casflow.digests import digest_of
from casflow.errors import CasflowError, ConfigError
from casflow.flow import bundle
from casflow.http import parsing
from casflow.http.answer import moment_of
from casflow.http.retry import wait_of
from casflow.reference import Reference
from casflow.registry.schema import Json, Labels, Moment, State
from casflow.registry.validation import run_of, version_of
from casflow.signing import Signed, Statement, packaged
from casflow.signing.allowed import find_signer, parse_allowed, parse_revoked
from casflow.signing.sshsig import BEGIN, END, parse_signature
from casflow.storage.docker import layer
from casflow.storage.docker.names import ImageName
from casflow.trees.index import Index, Place
from casflow.trees.listing import Entry, Listing, Root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DIGEST = digest_of(b"code")
REFERENCE = {
    "format": 1,
    "flow": "etl",
    "digest": DIGEST,
    "incarnation": 0,
    "size": 4,
    "media_type": "text/x-python",
    "created": "2026-11-22T23:38:15.315496+00:00",
    "labels": ["gpu"],
    "attachments": {"source_map": {"digest": DIGEST, "incarnation": 0, "size": 812}},
    "environment": {"python": "3.11.7"},
}


@dataclass(frozen=True, slots=True)
class Door:
    """One way in.

    Attributes:
        read: Reads bytes.
        examples: Bytes that it reads without an error.
    """

    read: Callable[[bytes], object]
    examples: tuple[bytes, ...]


_ARCHIVE = layer.pack({"/flows/a": b"x"})


def _listing() -> Listing:
    return Listing(
        [Entry("a/b", size=4, digest=DIGEST), Entry("c", executable=True, digest=digest_of(b""))]
    )


def _index(data: bytes) -> object:
    return Index.from_bytes(data, Root.from_bytes(_listing().root, where="here"), where="here")


def _index_example() -> bytes:
    return Index(_listing(), {DIGEST: 4}, {DIGEST: Place(DIGEST, 0, 4)}).to_bytes()


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _row(data: bytes) -> object:
    """Read a row of versions and one of runs whose columns hold lines of the input."""
    lines = iter(_text(data).split("\n"))
    dialect: Any = None

    def column(kind: Any) -> Any:
        text = next(lines, "")
        value = int(text[:19]) if text[:19].lstrip("-").isdigit() and text.isascii() else text
        return kind().process_result_value(value if kind is Moment else text, dialect)

    version = {
        "id": 1,
        "project": "default",
        "flow": "etl",
        "number": 1,
        "digest": next(lines, ""),
        "storage": column(Json),
        "reference": column(Json),
        "labels": column(Labels),
        "location": next(lines, ""),
        "idempotency_key": None,
        "created": column(Moment),
    }
    run = {
        **dict.fromkeys(("message", "agent", "heartbeat", "started", "ended")),
        "id": 1,
        "project": "p",
        "flow": "f",
        "version": 1,
        "digest": DIGEST,
        "attempt": 0,
        "losses": 0,
        "state": column(State),
        "parameters": column(Json),
        "labels": column(Labels),
        "scheduled": column(Moment),
        "created": column(Moment),
        "outcome": column(Json),
    }
    for record_of, values in ((version_of, version), (run_of, run)):
        try:
            record_of(values)
        except CasflowError as error:
            str(error)
    return None


def _config(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.toml").write_bytes(data)
        first = _text(data).partition("\n")[0].replace("\0", "")[:1000]
        environment = {"CASFLOW_HOME": folder}
        for name in ("CASFLOW_CACHE_LIMIT", "CASFLOW_DEFAULT_LABELS", "CASFLOW_CACHE_DIR"):
            try:
                config.load({**environment, name: first})
            except CasflowError as error:
                str(error)
        return config.load(environment)


def _answer(data: bytes) -> object:
    headers = {"Retry-After": _text(data)[:80], "X-RateLimit-Reset": _text(data)[:80]}
    wait_of(headers)
    moment_of(_text(data)[:200])
    form = parsing.parse(data)
    if isinstance(form, dict):
        for name, kind in (("target.hash", str), ("size", int), ("content", str)):
            try:
                parsing.member(form, name, kind, where="here")
            except CasflowError as error:
                str(error)
        parsing.items(form, "values", where="here")
    return form


def _layer(data: bytes) -> object:
    return layer.extract(io.BytesIO(data), "/flows/a", io.BytesIO(), where="here")


def _bundle(data: bytes) -> object:
    return bundle.unpack(data, where="here")


def _tree(data: bytes) -> object:
    return Root.from_bytes(data, where="here")


_VECTORS = json.loads((Path(__file__).parents[1] / "signing" / "vectors.json").read_text())
_STATEMENT = _VECTORS["statement"].encode()
_SIGNERS = parse_allowed(_VECTORS["allowed"], where="vectors")


def _signed(data: bytes) -> object:
    """Read a statement and its signature, and ask whose it is, as a verifier does."""
    signed = Signed.from_bytes(data)
    packaged.is_right(signed.signature, signed.message)
    return find_signer(signed.signature, signed.statement.moment, _SIGNERS, frozenset())


def _envelope(data: bytes) -> object:
    """Read what stands in the base64 of a signature; nothing that is changed may be right."""
    text = f"{BEGIN}\n{b64encode(data).decode()}\n{END}\n"
    signature = parse_signature(text)
    right = packaged.is_right(signature, _STATEMENT)
    signer = find_signer(signature, Statement.from_bytes(_STATEMENT).moment, _SIGNERS, frozenset())
    if right and data not in _ENVELOPES and signature.raw not in _RAW:
        raise AssertionError(f"a signature that {signer} never made")
    return signer


_ENVELOPES = tuple(
    b64decode("".join(each.splitlines()[1:-1])) for each in _VECTORS["signatures"].values()
)
_RAW = {parse_signature(each).raw for each in _VECTORS["signatures"].values()}


def _signers(data: bytes) -> object:
    with suppress(ConfigError):
        parse_revoked(_text(data), where="here")
    return parse_allowed(_text(data), where="here")


def _cli(data: bytes) -> object:
    """Run a command line whose words are the lines of the input."""
    from casflow.cli import _run

    words = [each.replace("\0", "") for each in _text(data).split("\n")][:12]
    if words[:1] in (["top"], ["demo"], ["k8s"]) or {"start", "agent"} <= set(words):
        return None
    with tempfile.TemporaryDirectory() as folder, _environment(CASFLOW_HOME=folder):
        here = Path.cwd()
        os.chdir(folder)
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as err:
                code = _run(words)
        finally:
            os.chdir(here)
    if code == 1 and "unexpected" in err.getvalue():
        raise AssertionError(err.getvalue())
    return code


class _environment:  # noqa: N801 - a context manager
    def __init__(self, **variables: str) -> None:
        self._variables = variables

    def __enter__(self) -> None:
        self._before = dict(os.environ)
        os.environ.update(self._variables)

    def __exit__(self, *_: object) -> None:
        os.environ.clear()
        os.environ.update(self._before)


def _rows() -> Iterator[str]:
    yield from (DIGEST, '{"type": "Local"}', json.dumps(REFERENCE), '["gpu"]', "etl/2026", "5")
    yield from ("Running", '{"n": 3}', "[]", "1", "2", '{"cache": "hit"}')


DOORS = {
    "reference": Door(
        lambda data: Reference.from_bytes(data, where="here"), (json.dumps(REFERENCE).encode(),)
    ),
    "index": Door(_index, (_index_example(),)),
    "row": Door(_row, ("\n".join(_rows()).encode(),)),
    "config": Door(
        _config,
        (
            b'10 MB\ncache_limit = "5GB"',
            b'cache_dir = "/tmp/x"\nregistry = "sqlite:////tmp/r.db"\ndefault_labels = true',
        ),
    ),
    "answer": Door(
        _answer, (b'{"target": {"hash": "a"}, "size": 3, "values": [{"path": "x"}]}', b"120")
    ),
    "image": Door(lambda data: ImageName.parse(_text(data)), (b"h:5000/a/b:1",)),
    "layer": Door(_layer, (layer.compress(_ARCHIVE), _ARCHIVE)),
    "bundle": Door(_bundle, (bundle.pack("a.py", {"a.py": b"x", "b/c.txt": b"y"}),)),
    "tree": Door(
        _tree,
        (
            json.dumps(
                {"format": 1, "entries": 2, "bytes": 4, "listing": DIGEST, "listing_size": 9}
            ).encode(),
        ),
    ),
    "signature": Door(
        _signed,
        tuple(_STATEMENT + each.encode() for each in _VECTORS["signatures"].values()),
    ),
    "envelope": Door(_envelope, _ENVELOPES),
    "signers": Door(
        _signers,
        (
            _VECTORS["allowed"].encode(),
            b'a,*@b cert-authority,namespaces="c,!d",valid-before="20270101Z" '
            + _SIGNERS[0].key.to_line().encode(),
            _SIGNERS[0].key.to_line().encode(),
        ),
    ),
    "cli": Door(
        _cli,
        (
            b"ls\n--json",
            b"show\nx",
            b"runs\nls\n--limit\n3",
            b"run\nx\n-P\na=1\n--digest\nblake3:0",
            b"agent\nlimit\ngpu\n3",
            b"gc\n/tmp/none\n--json",
            b"register\n-p\nx.py",
            b"registry\ncheck",
            b"trust\nadd\nx.pub\n--as\nanna\n--until\n2027-01-01",
            b"trust\nls\n--json",
        ),
    ),
}
"""Every door by its name on the command line."""

_INFINITE = json.dumps(REFERENCE).replace('"incarnation": 0', '"incarnation": 1e999').encode()

HOSTILE = (
    *(b"", b"\0", b"\xff\xfe", b"[" * 20_000, b'{"a":' * 20_000, b"1e999", b"NaN", b"-1"),
    *(b"9" * 5_000, b"true", b"null", b'"\\ud800"', "\u202e".encode(), b"\x1b[2J", b"../../x"),
    *(b"/", b"--help", b"%s", b"A" * 64, _INFINITE),
)
"""Pieces that have made trouble before."""
