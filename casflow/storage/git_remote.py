"""A repository over git's own protocol, by the git command line.

Owns the calls of git. Invariant: a credential reaches git through its environment only, never by
an argument, an address or a file; every fetch has a folder of its own, so nothing that another
process does, or that an earlier fetch left, can matter; what a repository makes git write or print
is bounded.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from casflow import certificates
from casflow.config import ca_bundle, child_environment
from casflow.errors import (
    AccessError,
    CasflowError,
    ConfigError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
    os_errors,
)
from casflow.secrets import redact, remember

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_TIMEOUT = 900.0  # seconds that one call of git may take
MOST_FETCHED = 4 << 30  # bytes of a pack
MOST_PRINTED = 128 << 20  # bytes of a listing, or of the files of a folder: both are held in memory
_BLOCK = 512  # bytes; POSIX counts the limit of a file's size in them
_LONGEST_COMPLAINT = 1 << 16  # bytes of what git says on its standard error
_OVER_LIMIT = re.compile(r"died of signal 25|file too large|file size limit")
_PROBE = 1 << 16  # bytes
_LEFT_OVER = 3600.0  # seconds after which a folder has no owner any more
NO_FILES = "blob:none"
SMALL_FILES = "blob:limit=64k"
_QUIET = ("--quiet", "--no-tags")
_KEPT = ("GIT_SSH", "GIT_SSL", "GIT_PROXY", "GIT_CONFIG", "GIT_ASKPASS", "GIT_EXEC")
_SHA256 = 64  # digits of the id of a commit
_UNKNOWN_HOST_KEY = re.compile(r"host key verification failed")
_REFUSED = re.compile(
    r"authentication failed|could not read username|permission denied|error: 40[13]"
    r"|dubious ownership|access denied"
)
_ABSENT = re.compile(
    r"not found|does not exist|does not appear to be a git repository|not our ref"
    r"|couldn't find remote ref|no such file|not a tree object|not a valid object"
)
_UNTRUSTED = re.compile(r"certificate (problem|verif|subject)|(local issuer|self.signed) cert")
_REDIRECTED = re.compile(r"returned error: 30[1-8]|redirect")
_MEANINGS: tuple[tuple[re.Pattern[str], type[CasflowError], str, str], ...] = (
    (_REDIRECTED, AccessError, "the repository has moved", "write its new address"),
    (
        _UNKNOWN_HOST_KEY,
        AccessError,
        "the host is not trusted",
        "check its key, and add it to known_hosts",
    ),
    (_REFUSED, AccessError, "git was refused", "check the credential and what it may read"),
    (_ABSENT, NotFoundError, "not found", "check the names of the repository and the ref"),
)


class WorkFolderError(UnavailableError):
    """The folder that a commit was to be fetched into fails; the repository is innocent."""


class UnnamedObjectError(UnavailableError):
    """An old server hands out what its refs name, no other commit and no single file."""


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One entry of a commit's tree: its mode and its id."""

    mode: str
    identity: str

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.mode.startswith("100")

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return self.mode == "120000"


class GitRemote:
    """A repository at an address.

    Args:
        url: Its address; a credential in it is taken out and sent as a header.
        credential: `user:password`.
        where: What messages name instead of the address.
    """

    def __init__(self, url: str, credential: str | None = None, *, where: str) -> None:
        self._where = where
        self._url, inner = _split(url)
        self._settings = {
            "remote.origin.url": self._url,
            "protocol.version": "2",
            "http.lowSpeedLimit": "100",
            "http.lowSpeedTime": "60",
            "gc.auto": "0",
        }
        if credential := credential or inner:
            token = base64.b64encode(credential.encode()).decode()
            remember([credential, token])
            scope = "/".join(self._url.split("/")[:3])
            self._settings[f"http.{scope}/.extraHeader"] = f"Authorization: Basic {token}"
            # git sends that header to any host that it is redirected to.
            self._settings["http.followRedirects"] = "false"

    def find(self, ref: str) -> str | None:
        """Return the commit of `HEAD` or of a fully named ref, or None when there is none."""
        output = self._git("ls-remote", "--quiet", "origin", ref, f"{ref}^{{}}")
        rows = (row.partition(b"\t") for row in output.splitlines())
        found = {os.fsdecode(name): os.fsdecode(commit) for commit, _, name in rows}
        return found.get(f"{ref}^{{}}") or found.get(ref)

    @contextlib.contextmanager
    def checked_out(
        self, commit: str, parent: Path | None, depth: int, narrow: str
    ) -> Iterator[Snapshot]:
        """Fetch a commit with its trees into a folder that is removed afterwards.

        Args:
            commit: Its full id.
            parent: Where the folder is made; among the system's temporary ones when left out.
            depth: How many commits are fetched.
            narrow: Git's filter of what is fetched with them.

        Raises:
            WorkFolderError: The folder cannot be made, or fails.
        """
        if parent is not None:
            _drop_left_overs(parent)
        try:
            with os_errors(parent or tempfile.gettempdir()):
                folder = Path(tempfile.mkdtemp(prefix="casflow-git-", dir=parent))
        except CasflowError as error:
            raise WorkFolderError(error.what, where=error.where) from error
        try:
            kind = "sha256" if len(commit) == _SHA256 else "sha1"
            self._init(folder, kind)
            self._fetch(commit, folder, depth, narrow)
            yield Snapshot(self, folder, commit)
        except CasflowError as error:
            if str(folder) in error.what or not _is_usable(folder):
                raise WorkFolderError(error.what, where=folder) from error
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _init(self, folder: Path, kind: str) -> None:
        try:
            self._git("init", "--quiet", "--bare", f"--object-format={kind}", str(folder))
        except (AccessError, NotFoundError, UnavailableError) as error:  # it asks no repository
            raise WorkFolderError(error.what, where=folder) from error

    def _fetch(self, commit: str, folder: Path, depth: int, narrow: str) -> None:
        less = (f"--filter={narrow}", f"--depth={depth}")
        try:
            self._git("fetch", *_QUIET, *less, "origin", commit, folder=folder)
        except UnnamedObjectError:  # the whole history, so no file of it
            self._git(
                "fetch", *_QUIET, f"--filter={NO_FILES}", "origin", "+refs/*:refs/*", folder=folder
            )

    def _git(self, *arguments: str, folder: Path | None = None, given: bytes = b"") -> bytes:
        """Call git and return what it printed.

        Raises:
            CasflowError: It failed, took too long, or wrote or printed too much.
        """
        place = () if folder is None else (f"--git-dir={folder}",)
        most = MOST_FETCHED if arguments[0] == "fetch" else MOST_PRINTED
        temporary = tempfile.gettempdir()
        with os_errors(temporary), TemporaryFile() as output, TemporaryFile() as complaint:
            command = [*_limited(most), "git", *place, *arguments]
            code = self._call(command, given, output, complaint, folder or temporary)
            complaint.seek(0)
            said = complaint.read(_LONGEST_COMPLAINT).decode(errors="replace")
            size = output.seek(0, os.SEEK_END)
            if size >= most or (code and _OVER_LIMIT.search(said.lower())):
                hint = "use a smaller folder or repository"
                raise IntegrityError(f"git gives over {most} bytes", where=self._where, hint=hint)
            if code:
                raise self._error(redact(said))
            output.seek(0)
            return output.read()

    def _call(
        self,
        command: Sequence[str],
        given: bytes,
        output: IO[bytes],
        complaint: IO[bytes],
        folder: str | Path,
    ) -> int:
        """Run a command in a folder and return its exit code."""
        try:
            done = subprocess.run(
                command,
                input=given,
                stdout=output,
                stderr=complaint,
                check=False,
                timeout=_TIMEOUT,
                env=self._environment(),
                start_new_session=True,  # without a terminal, nothing can ask on it
                cwd=folder,
            )
        except subprocess.TimeoutExpired as error:
            what = f"git took over {_TIMEOUT:.0f} s"
            raise UnavailableError(what, where=self._where, hint="try again later") from error
        return done.returncode

    def _environment(self) -> dict[str, str]:
        values = {
            "GIT_TERMINAL_PROMPT": "0",
            "SSH_ASKPASS": "",  # git would ask a person with it; ssh finds no terminal to ask on
            "SSH_ASKPASS_REQUIRE": "never",
            "LC_ALL": "C",
        }
        own = child_environment(lambda name: not name.startswith("GIT_") or name.startswith(_KEPT))
        if bundle := ca_bundle(own):
            values["GIT_SSL_CAINFO"] = bundle
        # What the user configures by the environment stays; ours comes after it.
        count = own.get("GIT_CONFIG_COUNT", "")
        first = int(count) if count.isdecimal() else 0
        for number, (key, value) in enumerate(self._settings.items(), first):
            values |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        values["GIT_CONFIG_COUNT"] = str(first + len(self._settings))
        return {**own, **values}

    def _error(self, output: str) -> CasflowError:
        lines = output.splitlines() or ["git failed without a word"]
        telling = [line for line in lines if line.startswith(("fatal:", "error:", "ssh:"))]
        text = (telling or lines)[0]
        if "unadvertised object" in output.lower():
            return UnnamedObjectError(f"git failed ({text})", where=self._where)
        if any(_UNTRUSTED.search(line.lower()) for line in lines):
            parts = urlsplit(self._url)
            address = (parts.hostname or "", parts.port or 443)
            what = f"{certificates.WHAT} ({text}{certificates.shown_by(*address)})"
            return AccessError(what, where=self._where, hint=certificates.HINT)
        for pattern, kind, what, hint in _MEANINGS:
            for line in lines:
                if pattern.search(line.lower()):
                    return kind(f"{what} ({line})", where=self._where, hint=hint)
        hint = "check the network and try again"
        return UnavailableError(f"git failed ({text})", where=self._where, hint=hint)


def _limited(size: int) -> tuple[str, ...]:
    """Return the words before a command that let it write no file longer than a size.

    Raises:
        ConfigError: There is no git.
    """
    if shutil.which("git") is None:
        raise ConfigError("the command git is needed", hint="install git")
    if os.name != "posix":
        return ()
    return ("sh", "-c", 'ulimit -f "$1"; shift; exec "$@"', "sh", str(-(-size // _BLOCK)))


def _is_usable(folder: Path) -> bool:
    """Tell whether files can be written to a folder and read back."""
    path = folder / "casflow-probe"
    try:
        path.write_bytes(bytes(_PROBE))
        return path.read_bytes() == bytes(_PROBE)
    except OSError:
        return False


class Snapshot:
    """A commit that was fetched; contents of files come when they are asked for, together."""

    def __init__(self, remote: GitRemote, folder: Path, commit: str) -> None:
        self._remote = remote
        self._folder = folder
        self._commit = commit

    def _git(self, *arguments: str, given: bytes = b"") -> bytes:
        return self._remote._git(*arguments, folder=self._folder, given=given)  # noqa: SLF001

    def tree(self) -> dict[str, TreeEntry]:
        """Return all entries by path, folders included."""
        try:
            rows = self._git("ls-tree", "-r", "-t", "-z", "--full-tree", self._commit).split(b"\0")
        except UnnamedObjectError as error:
            hint = "check the commit's id"
            raise NotFoundError("no such commit", where=self._commit, hint=hint) from error
        entries = {}
        for row in filter(None, rows):
            head, _, path = row.partition(b"\t")
            mode, _, identity = head.decode().split()
            entries[os.fsdecode(path)] = TreeEntry(mode, identity)
        return entries

    def read(self, identities: Iterable[str]) -> Mapping[str, bytes]:
        """Return the contents of blobs by id; what is not here yet is fetched in one go."""
        wanted = sorted(set(identities))
        check = ("--batch-check=%(objectname)", "--batch-all-objects", "--unordered")
        present = set(self._git("cat-file", *check).decode().split())
        if missing := [each for each in wanted if each not in present]:
            self._fetch("\n".join(missing).encode())
        output = self._git("cat-file", "--batch", given="\n".join(wanted).encode())
        return dict(_contents(output))

    def _fetch(self, identities: bytes) -> None:
        quiet = (*_QUIET, "--no-write-fetch-head")
        try:
            self._git(
                "fetch", *quiet, f"--filter={NO_FILES}", "origin", "--stdin", given=identities
            )
        except UnnamedObjectError:
            self._git("fetch", *quiet, "--refetch", "--no-filter", "origin", "+refs/*:refs/*")


def _contents(output: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield id and content of each blob that `git cat-file --batch` printed."""
    start = 0
    while start < len(output):
        end = output.index(b"\n", start)
        identity, _, size = output[start:end].decode().split()
        start = end + 1 + int(size) + 1
        yield identity, output[end + 1 : start - 1]


def _split(url: str) -> tuple[str, str | None]:
    """Return an address of HTTP without its credential, and the credential."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return url, None
    user, _, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    return urlunsplit(parts._replace(netloc=host)), f"{unquote(name)}:{unquote(password)}"


def _drop_left_overs(parent: Path) -> None:
    """Remove folders whose owner died."""
    for each in parent.glob("*"):
        with contextlib.suppress(OSError):
            if time.time() - each.stat().st_mtime > _LEFT_OVER:
                shutil.rmtree(each, ignore_errors=True)
