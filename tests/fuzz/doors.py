"""The doors: what reads bytes that others made, each with a sound example.

Invariant: a door takes any bytes at all, and either reads them or raises a `CasflowError` whose
exit code is not 1; nothing else may come out.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zlib
from base64 import b64decode, b64encode
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from requests.structures import CaseInsensitiveDict

from casflow import config, secrets
from casflow.agents.report import ReportFile
from casflow.cache.folders import Folders
from casflow.digests import digest_of
from casflow.errors import CasflowError, ConfigError
from casflow.flow import bundle
from casflow.http import Answer, parsing
from casflow.http.answer import moment_of
from casflow.http.retry import wait_of
from casflow.reference import Reference
from casflow.registry.schema import Json, Labels, Moment, State
from casflow.registry.validation import run_of, version_of
from casflow.results import JSONSerializer, LocalResult
from casflow.serialize import deserialize, serialize
from casflow.signing import Signed, Statement, packaged
from casflow.signing.allowed import find_signer, parse_allowed, parse_revoked
from casflow.signing.sshsig import BEGIN, END, parse_signature
from casflow.storage.docker import layer
from casflow.storage.docker.image_store import config_of
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.registry import Registry
from casflow.trees.index import Index, Place
from casflow.trees.listing import Entry, Listing, Root
from casflow.trees.record import is_unchanged, read_record

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


_FOO = {"digest": layer.sha256(b"foo"), "size": 3}
_MANIFEST = json.dumps({"layers": [_FOO], "config": {"digest": "sha256:0", "size": 2}}).encode()
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
        **dict.fromkeys(("message", "agent", "host", "heartbeat", "started", "ended")),
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


def _columns(data: bytes) -> object:
    """Read the index of a tree whose compressed columns are the input."""
    raw = _index_example()
    inflater = zlib.decompressobj()
    inflater.decompress(raw)
    root = Root.from_bytes(_listing().root, where="here")
    return Index.from_bytes(zlib.compress(data, 1) + inflater.unused_data, root, where="here")


def _columns_example() -> bytes:
    return zlib.decompressobj().decompress(_index_example())


class _Registry(Registry):
    """A registry whose answers are the input: headers in the first line, then the body."""

    def __init__(self, data: bytes) -> None:
        super().__init__("127.0.0.1:5000", credentials={})
        line, _, self._body = data.partition(b"\n")
        names = ("Content-Type", "Link", "Date", "Location", "WWW-Authenticate")
        values = (each[:65_536] for each in _text(line).split("|"))  # as http.client bounds them
        self._headers = dict(zip(names, values, strict=False))

    def _send(self, method: str, url: str, options: dict[str, Any]) -> Answer:
        if options.get("target") is not None:
            options["target"].write(b"foo" if options["limit"] == len(b"foo") else self._body)
        status = 202 if method == "POST" else 200
        return Answer(status, "OK", CaseInsensitiveDict(self._headers), url, self._body)


def _manifest(data: bytes) -> object:
    registry, name = _Registry(data), ImageName.parse("127.0.0.1:5000/a/b:1")
    for ask in (
        lambda: [registry.get_blob(name, each) for each in registry.get_manifest(name).layers],
        lambda: registry.get_manifest(name).is_index,
        lambda: registry.tags(name),
        lambda: registry.upload_blob(name, b"x", "sha256:0"),
        lambda: config_of(registry, name, registry.get_manifest(name)),
    ):
        try:
            ask()
        except CasflowError as error:
            if error.exit_code == 1:
                raise
    return None


def _source_map(data: bytes) -> object:
    return deserialize(_MAPPED, attachments={"source_map": data})


def _result(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        result = LocalResult(folder, serializer=JSONSerializer(), location="x")
        Path(folder, "x").write_bytes(data)
        try:
            LocalResult(folder).read("x", digest=DIGEST)
        except CasflowError as error:
            str(error)
        return result.read("x").value


def _record(data: bytes) -> object:
    """Read what stands beside a checked-out folder, a run's report, and a saved head."""
    with tempfile.TemporaryDirectory() as folder:
        folders = Folders(Path(folder))
        path = folders.record("a" * 64)
        path.parent.mkdir()
        path.write_bytes(data)
        folders.path("a" * 64).mkdir()
        if (found := read_record(folders, "a" * 64)) is not None:
            is_unchanged(folders, "a" * 64, found)
        folders.entries()
    report = ReportFile()
    os.write(report.fileno(), data)
    return report.find()


def _secrets(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder, _environment(CASFLOW_HOME=folder):
        file = Path(folder, "secrets.toml")
        file.write_bytes(data)
        file.chmod(0o600)
        return secrets.find("TOKEN")


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


def _mapped() -> tuple[bytes, bytes]:
    made = serialize(_mapped)
    return made.data, made.attachments["source_map"]


_MAPPED, _MAP = _mapped()


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
    "columns": Door(_columns, (_columns_example(),)),
    "manifest": Door(
        _manifest,
        (
            b"application/vnd.oci.image.manifest.v1+json|<x?n=2>; rel=next|||\n" + _MANIFEST,
            b'application/json\n{"tags": ["a", "b"], "config": {"Env": ["A=b"], "Labels": {}}}',
        ),
    ),
    "sourcemap": Door(_source_map, (_MAP,)),
    "result": Door(_result, (b'{"a": [1, 2.5, null]}', b"blake3:" + b"0" * 64 + b"\nx")),
    "record": Door(
        _record,
        (
            b'{"format": 1, "boot": "x", "bytes": 4, "names": 3, "count": 2}\na\0b' + bytes(64),
            b'{"state": "Success", "message": "done", "outcome": {"cache": "hit"}}',
        ),
    ),
    "secrets": Door(_secrets, (b'TOKEN = "x"\n[AWS]\nKEY = "a"', b'TOKEN = {a = "b"}')),
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
