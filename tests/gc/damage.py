"""Every kind of object of a store, damaged in every way, and what each command then does.

    uv run python -m tests.gc.damage > docs/damage.md

A home is filled once by the commands that people type. For each cell a copy of it is damaged, one
command is run in a process of its own, and then the way out: the shortest of a few commands after
which everything that was registered runs, `verify` finds nothing, and gc collects again.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from casflow.blobs import layout
from casflow.blobs.content import ContentStore, Draft
from casflow.blobs.local import LocalBlobStore
from casflow.cli import main
from casflow.gc import pin
from casflow.gc.roots import discard
from casflow.reference import PICKLE, Reference

for each in ("gc", "register", "run", "sign", "trees", "verify", "pins"):
    import_module(f"casflow.cli.{each}")  # once, not in every process

SCRIPT = """\
from casflow import Flow, task

@task
def version():
    return {number}

with Flow("etl") as flow:
    version()
"""
FIXED = """\
from casflow import Flow, task
from casflow.storage import Local

@task
def version():
    return "fixed"

with Flow("fixed", storage=Local(path={path!r})) as flow:
    version()
"""


def _flip(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # nothing here must survive
DAMAGES = {
    "flip": _flip,
    "truncate": lambda data: data[: len(data) * 2 // 3],
    "empty": lambda _: b"",
    "delete": lambda _: None,
}
COMMANDS = {
    "register": ["register", "-p", "etl.py", "fixed.py"],
    "register --force": ["register", "--force", "-p", "etl.py", "fixed.py"],
    "verify": ["verify"],
    "verify --repair": ["verify", "--repair"],
    "gc": ["gc", "--yes"],
    "run": ["run", "etl"],
}
FLOWS = "fixed", "signed", "etl"
OLD = ["register", "-p", "old.py"]
TAG = ["tag", "tree", "prod"]
SIGN = ["sign", "signed", "--key", "key"]
PUSH = ["push", "tree", "tree"]
REPAIR, REGISTER = COMMANDS["verify --repair"], COMMANDS["register"]
END = ["gc", "--trash", "0s", "--yes"]
WAYS = {
    "nothing to do": [],
    "`register` it": [REGISTER],
    "`verify --repair`": [REPAIR],
    "`verify --repair`, `register` it": [REPAIR, REGISTER],
    "`verify`, `register` it, `verify --repair`": [["verify"], REGISTER, REPAIR],
    "`verify`, `register` its source, `verify --repair`": [["verify"], OLD, REPAIR],
    "`push` it again": [PUSH],
    "`verify`, `push` it again, `verify --repair`": [["verify"], PUSH, REPAIR],
    "`sign` it again": [SIGN],
    "`unpin`, `pin` again": [["unpin", "kept"], ["pin", "pinned", "--as", "kept"]],
    "`tag` it again": [TAG],
    "7 days, or `gc --trash 0s`": [END],
    "`verify --repair`; 7 days, or `gc --trash 0s`": [REPAIR, END],
}


@dataclass(frozen=True)
class Kind:
    """A kind of object: what it is, and where one stands in the home."""

    name: str
    key: str


class Damaged:
    """The home from which every cell is copied, and the kinds of objects in it."""

    def __init__(self, folder):
        self.folder = folder
        self.home = folder / "home"
        self.template = folder / "template"
        self.scripts = folder / "scripts"
        self.scripts.mkdir()
        self.kinds = self._fill()
        shutil.copytree(self.home, self.template)

    def _fill(self):
        (self.scripts / "old.py").write_text(SCRIPT.format(number=1))
        (self.scripts / "etl.py").write_text(SCRIPT.format(number=2))
        (self.scripts / "fixed.py").write_text(
            FIXED.format(path=str(self.home / "flows" / "fixed.flow"))
        )
        tree = self.scripts / "tree"
        tree.mkdir()
        (tree / "file").write_text("a file")
        pushes = (["push", str(tree), "tree"], TAG)
        for command in (OLD, COMMANDS["register"], *pushes, *self._signing(), ["gc", "--yes"]):
            ((code, said),) = self.call(command)
            assert code == 0, said
        store = LocalBlobStore(self.home / "flows")
        content = ContentStore(store)
        old, new = content.reference_keys("etl")
        pin(content, self._commit(content, "pinned", b"pinned"), "kept")
        other = self._commit(content, "other", b"other")
        leased = content.get_reference(self._commit(content, "leased", b"leased"))
        lease = layout.lease(leased.digest, "host", datetime.now(UTC).date())
        content.copy(leased, lease)
        trashed = self._commit(content, "trashed", b"trashed")
        discard(content, trashed)
        garbage = self._commit(content, "garbage", b"garbage")
        named = content.get_reference(garbage)
        store.delete(garbage)
        store.create(layout.marker("blake3:" + "0" * 64, 0), b"")
        runs = [info.key for info in store.list(layout.RUNS)]
        shutil.rmtree(self.home / "cache", ignore_errors=True)
        return self._kinds(
            store,
            {
                "newest reference": new,
                "older reference": old,
                "reference of another registry": other,
                "fixed key": "fixed.flow",
                "entry of a fixed key": layout.name("fixed.flow"),
                "reference of a tree": content.reference_keys("tree")[-1],
                "number of a version": next(info.key for info in store.list(layout.VERSIONS)),
                "signature": next(info.key for info in store.list(layout.SIGNATURES)),
                "pin": next(info.key for info in store.list(layout.PINS)),
                "move of a tag": next(info.key for info in store.list(layout.TAGS)),
                "lease": lease,
                "entry of the trash": layout.trash(trashed),
                "blob that nothing names": layout.blob(named.digest, 0),
                "marker": layout.marker("blake3:" + "0" * 64, 0),
                "run of gc": runs[0],
                "report of gc": runs[1],
                "format": layout.FORMAT,
            },
        )

    def _signing(self):
        """Let a flow need a signature here; return the commands that register and sign it."""
        key = self.scripts / "key"
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)]
        subprocess.run(make, check=True)
        trusted = f"signer@example.com {key.with_suffix('.pub').read_text()}"
        self.home.mkdir(mode=0o700)
        (self.home / "allowed_signers").write_text(trusted)
        (self.home / "config.toml").write_text('require = ["signed"]\n')
        text = SCRIPT.format(number=3).replace('"etl"', '"signed"')
        (self.scripts / "signed.py").write_text(text)
        return [["register", "--sign", "key", "-p", "signed.py"]]

    def _commit(self, content, flow, data):
        return content.commit(Draft(flow, data, PICKLE)).key

    def _kinds(self, store, keys):
        """Return the kinds; blobs come first, of the newest version and of an older one."""
        new, old = (
            Reference.from_bytes(store.get(keys[f"{which} reference"]), where=which)
            for which in ("newest", "older")
        )
        tree = Reference.from_bytes(store.get(keys["reference of a tree"]), where="tree")
        blobs = {
            "blob of the newest version": new.blob,
            "blob of an older version": old.blob,
            "source map": new.attachments["source_map"],
            "pack of a tree": tree.attachments["pack/0"],
        }
        found = [Kind(name, layout.blob(blob.digest, 0)) for name, blob in blobs.items()]
        return [*found, *(Kind(name, key) for name, key in keys.items())]

    # ---- one cell ------------------------------------------------------------------------------

    def lay(self, kind, damage):
        """Lay the home anew, with one object of it damaged; tell whether that changed anything."""
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.template, self.home)
        path = self.home / "flows" / kind.key
        data = path.read_bytes()
        if damage != "delete" and not data:
            return False
        path.chmod(0o644)
        path.unlink()
        if (changed := DAMAGES[damage](data)) is not None:
            path.write_bytes(changed)
        return True

    def call(self, *commands):
        """Run commands in a process of their own; return exit codes and what they printed."""
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            os.close(reading)
            os.write(writing, json.dumps([self._called(each) for each in commands]).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            answer = json.loads(pipe.read())
        os.waitpid(child, 0)
        return answer

    def _called(self, command):
        os.environ.update({"CASFLOW_HOME": str(self.home), "HOME": str(self.folder)})
        os.chdir(self.scripts)
        said = io.StringIO()
        try:
            with redirect_stdout(said), redirect_stderr(said):
                main(command)
        except SystemExit as end:
            return end.code or 0, said.getvalue()[-2000:]
        except BaseException as error:
            return "traceback", repr(error)
        return 0, said.getvalue()[-2000:]

    def is_well(self):
        """Tell whether gc collects, nothing is wrong, and every version runs."""
        shutil.rmtree(self.home / "cache", ignore_errors=True)
        checks = [["gc", "--yes"], ["verify"], *(["run", each] for each in FLOWS)]
        answers = self.call(*checks, ["run", "etl", "--version", "1"])
        return not any(code for code, _ in answers) and "before it is known" not in answers[0][1]

    def cell(self, kind, damage, command):
        """Return what a command does about a damage, in a few words; "-" if it is no damage."""
        if not self.lay(kind, damage):
            return "-"
        ((code, _),) = self.call(COMMANDS[command])
        if code:
            return f"exit {code}"
        return "all well" if self.is_well() else "goes on"

    def way_out(self, kind, damage):
        """Return the first way after which all is well, and the number of commands in it."""
        for name, commands in WAYS.items():
            if not self.lay(kind, damage):
                return "-"
            self.call(*commands)
            if self.is_well():
                return name
        return None


HEAD = """\
# What each damage does, and the way out

One object of a store is damaged: a bit in its middle flipped, its last third cut off, all of it, or
the object deleted. The cache is empty. The table says what each command does then, and what it
takes until `verify` finds nothing, gc collects and every registered version runs; one flow needs a
signature here. It is made by `python -m tests.gc.damage`.

*all well*: the command succeeds, and nothing is wrong after it. *goes on*: it succeeds, the damage
stays. *exit N*: it names the damage and ends with this code. *-*: the object is empty as it is.

"""


def table(damaged, chosen=lambda *_: True):
    """Yield the rows of the table: kind and damage, what each command does, and the way out."""
    for kind in damaged.kinds:
        for damage in DAMAGES:
            if chosen(kind.name, damage):
                cells = [damaged.cell(kind, damage, each) for each in COMMANDS]
                yield kind.name, damage, *cells, damaged.way_out(kind, damage)


def make_page():
    columns = ["object", "damage", *(f"`{each}`" for each in COMMANDS), "way out"]
    print(HEAD + "| " + " | ".join(columns) + " |\n" + "| --- " * len(columns) + "|")
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        for row in table(Damaged(Path(folder)), lambda kind, _: sys.argv[1:] in ([], [kind])):
            print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    make_page()
