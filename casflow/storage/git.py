"""Scripts in any git repository, over https, ssh or a path of this machine.

What is hashed and run is the script with the files in and below its folder, as a tree, so that it
can import and read what stands beside it; a script that is alone there has the same digest as in
any storage.
"""

from __future__ import annotations

import logging
import posixpath
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from casflow.cache import outages
from casflow.errors import ConfigError, NotFoundError
from casflow.reference import TREE
from casflow.secrets import Secret, find, remember
from casflow.storage.git_remote import NO_FILES, SMALL_FILES, GitRemote, WorkFolderError
from casflow.storage.source import Content, Head, SourceStorage
from casflow.storage.validation import (
    check_commit,
    check_script,
    is_commit,
    is_lfs_pointer,
    not_a_file,
)
from casflow.trees.listing import check_path
from casflow.trees.memory import File, MemoryTree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from casflow.flow import Flow
    from casflow.storage.git_remote import Snapshot, TreeEntry

logger = logging.getLogger(__name__)

_LARGE = 2000  # entries of a tree; the small files of more are not fetched for those of one folder

_SHOWN = 3  # files of a kind that a warning names
_ABOVE = re.compile(rb"""["']\.\./|\.parent\.parent|\.parents\[[1-9]|os\.pardir""")
_EXECUTABLE = "100755"  # mode of such a file in git's trees


class Git(SourceStorage):
    """A script in a git repository.

    Args:
        flow_path: The script in the repository.
        repo: `owner/name` on `repo_host`, or a whole address or absolute path without credential.
        repo_host: The host of `repo`.
        flow_name: Name of the flow, when it must be the only one that this storage takes.
        git_token_secret_name: Name of the secret that holds an access token.
        git_token_username: User that the token belongs to; the repository's owner when left out.
        git_clone_url_secret_name: Name of the secret that holds the whole address; it wins over
            all of the above.
        branch_name: Branch; at most one of branch, tag and commit, else the default branch.
        tag: Tag.
        commit: Full id of a commit.
        clone_depth: Commits that are fetched.
        use_ssh: Whether `repo` is reached by ssh.
        format_access_token: Whether the token is the user's password; else it is the user.
        folder: Folder of the repository that is taken with the script in it, `""` for all of it;
            that of the script when left out.
        options: What every storage of this family takes.
    """

    fields = (
        *("flow_path", "repo", "repo_host", "flow_name", "git_token_secret_name"),
        *("git_token_username", "git_clone_url_secret_name", "branch_name", "tag", "commit"),
        *("clone_depth", "use_ssh", "format_access_token", "pin", "on_unreachable"),
    )
    optional_fields = ("folder",)

    def __init__(
        self,
        flow_path: str,
        repo: str | None = None,
        repo_host: str = "github.com",
        flow_name: str | None = None,
        git_token_secret_name: str | None = None,
        git_token_username: str | None = None,
        git_clone_url_secret_name: str | None = None,
        branch_name: str | None = None,
        tag: str | None = None,
        commit: str | None = None,
        clone_depth: int = 1,
        use_ssh: bool = False,  # noqa: FBT001, FBT002 - the original's signature
        format_access_token: bool = True,  # noqa: FBT001, FBT002
        *,
        folder: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(path=flow_path, ref=_ref(branch_name, tag, commit), **options)
        self.flow_path = flow_path
        self.repo = repo
        self.repo_host = repo_host
        self.flow_name = flow_name
        self.git_token_secret_name = git_token_secret_name
        self.git_token_username = git_token_username
        self.git_clone_url_secret_name = git_clone_url_secret_name
        self.branch_name = branch_name
        self.tag = tag
        self.commit = commit
        self.clone_depth = clone_depth
        self.use_ssh = use_ssh
        self.format_access_token = format_access_token
        self.folder = None if folder is None else folder.strip("/")
        self._check()

    def _check(self) -> None:
        if self.folder and not self.flow_path.startswith(f"{self.folder}/"):
            raise ConfigError("the script is not in the folder", where=self.folder)
        if self.git_clone_url_secret_name is not None:
            if self.repo is not None:
                logger.warning(
                    "Git storage initialized with a `git_clone_url_secret_name`. The value of this "
                    "Secret will be used to clone the repository, ignoring `repo` and what else "
                    "tells where it is"
                )
            return
        if self.repo is None:
            raise ConfigError("Either `repo` or `git_clone_url_secret_name` must be provided")
        parts = urlsplit(self.repo if "://" in self.repo else f"https://{self.repo_host}")
        if parts.password or (parts.username and parts.scheme.startswith("http")):
            remember(parts.password or parts.username)
            hint = "put the address into a secret and name it in git_clone_url_secret_name"
            raise ConfigError("the address holds a credential", where=parts.hostname, hint=hint)
        if self.use_ssh and self.git_token_secret_name is not None:
            logger.warning(
                "Git Storage initialized with `use_ssh = True` and `git_token_secret_name` "
                "provided. SSH will be used to clone the repository. `git_token_secret_name` will "
                "be ignored"
            )

    def locate(self, flow: Flow) -> str:
        """Return the script's path."""
        if self.flow_name is not None and flow.name != self.flow_name:
            what = f"the storage takes the flow {self.flow_name!r} only, not {flow.name!r}"
            raise ConfigError(what, hint="leave flow_name out")
        return self.flow_path

    # ---- the repository --------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The repository's address, or the name of the secret that holds it."""
        if self.git_clone_url_secret_name is not None:
            return f"the repository in the secret {self.git_clone_url_secret_name}"
        repo = str(self.repo)
        if "://" in repo or repo.startswith("/"):
            return repo
        if self.use_ssh:
            return f"git@{self.repo_host}:{repo}.git"
        return f"https://{self.repo_host}/{repo}.git"

    def remote(self) -> GitRemote:
        """Return the repository with the credential that it is read with."""
        if self.git_clone_url_secret_name is not None:
            return GitRemote(_text(self.git_clone_url_secret_name), where=self.address)
        return GitRemote(self.address, self._credential(), where=self.address)

    def _credential(self) -> str | None:
        if self.git_token_secret_name is None or not self.address.startswith("http"):
            return None
        token = _text(self.git_token_secret_name)
        if not self.format_access_token:
            return f"{token}:"
        return f"{self.git_token_username or self._owner()}:{token}"

    def _owner(self) -> str:
        """Return who owns the repository, or what hosts take for a token's user without one."""
        parts = urlsplit(self.address).path.strip("/").split("/")
        return parts[0] if len(parts) > 1 else "git"

    @property
    def git_token_secret(self) -> str | None:
        """The token, looked up now.

        Raises:
            MissingSecretError: It was named, and is missing.
        """
        return None if self.git_token_secret_name is None else _text(self.git_token_secret_name)

    @property
    def git_clone_url(self) -> str:
        """The address with its credential, which makes it a secret; git is not given it so."""
        if self.git_clone_url_secret_name is not None:
            return _text(self.git_clone_url_secret_name)
        scheme, mark, rest = self.address.partition("://")
        if not mark or not scheme.startswith("http"):
            return self.address
        credential = (self._credential() or "").removesuffix(":")
        remember(credential)
        return f"{scheme}://{credential}@{rest}"

    def look_up(self, etag: str | None) -> Head | None:  # noqa: ARG002 - the protocol has none
        """Ask for the ref's commit."""
        found = self.remote().find(self.ref or "HEAD")
        if found is None:
            where = f"{self.address}@{self.ref or 'HEAD'}"
            raise NotFoundError("no such branch or tag", where=where, hint="check the name")
        return Head(check_commit(found, where=self.address))

    def read(self, commit: str) -> Content:
        """Fetch the script and the files in and below its folder."""
        workplace = self.cache.work_folder("git")
        if workplace is not None:
            try:
                return self._read(commit, workplace)
            except WorkFolderError as error:
                outages.report(self.cache.root, error.what)
        return self._read(commit, None)

    def _read(self, commit: str, workplace: Path | None) -> Content:
        narrow = self._filter()
        with self.remote().checked_out(commit, workplace, self.clone_depth, narrow) as snapshot:
            return self._content(snapshot)

    def content_options(self) -> tuple[str, ...]:
        """Return the folder, if one was named."""
        return () if self.folder is None else (self.folder,)

    def script_name(self) -> str:
        """Return the script's path in the folder that is taken."""
        if self.folder is None:
            return super().script_name()
        return str(self.path).removeprefix(f"{self.folder}/" if self.folder else "")

    def _filter(self) -> str:
        """Small files come with the commit, in one fetch, unless there are known to be many."""
        return SMALL_FILES if self.cache.find_alias(self._alias("many files")) is None else NO_FILES

    def _content(self, snapshot: Snapshot) -> Content:
        tree = snapshot.tree()
        if len(tree) > _LARGE:
            self.cache.set_alias(self._alias("many files"), str(len(tree)))
        where = f"{self.address}:{self.path}"
        _check_file(tree, str(self.path), where)
        folder = posixpath.dirname(str(self.path)) if self.folder is None else self.folder
        script = self.script_name()
        files = _files_below(snapshot, tree, f"{folder}/" if folder else "")
        check_script(files[script].data, where=where)
        _warn_of_absent(files, folder, where)
        if len(files) == 1:
            return Content(files[script].data)
        made = MemoryTree(files)
        return Content(made.index.listing.root, TREE, made)


def _text(name: str) -> str:
    value = find(name)
    return str(Secret(name).get() if value is None else value).strip()


def _ref(branch: str | None, tag: str | None, commit: str | None) -> str | None:
    if sum(each is not None for each in (branch, tag, commit)) > 1:
        raise ConfigError("Only one of `branch_name`, `tag` and `commit` can be provided")
    if commit is not None and not is_commit(commit):
        raise ConfigError("not a commit's full id", where=commit, hint="write all of its digits")
    if branch is not None:
        return f"refs/heads/{branch}"
    return commit if tag is None else f"refs/tags/{tag}"


def _check_file(tree: Mapping[str, TreeEntry], path: str, where: str) -> None:
    parents = [path.rsplit("/", count)[0] for count in range(1, path.count("/") + 1)]
    if any(each in tree and tree[each].mode == "160000" for each in [path, *parents]):
        raise not_a_file("submodule, or inside one", where)
    if path not in tree:
        raise NotFoundError("no such file", where=where, hint="check flow_path")
    if not tree[path].is_file:
        raise not_a_file("symbolic link" if tree[path].is_link else "directory", where)


def _files_below(snapshot: Snapshot, tree: Mapping[str, TreeEntry], prefix: str) -> dict[str, File]:
    """Return the files of a folder by relative path; a link counts as the file that it names."""
    inside = {path: entry for path, entry in tree.items() if path.startswith(prefix)}
    data = snapshot.read(
        entry.identity for entry in inside.values() if entry.is_file or entry.is_link
    )
    linked = {
        path: tree.get(posixpath.normpath(posixpath.join(posixpath.dirname(path), _target(each))))
        for path, entry in inside.items()
        if entry.is_link and (each := data[entry.identity])
    }
    targets = {path: entry for path, entry in linked.items() if entry and entry.is_file}
    for path in sorted(set(linked) - set(targets)):
        logger.warning("the link %s names no file of the commit and is left out", path)
    more = snapshot.read(entry.identity for entry in targets.values()) if targets else {}
    plain = {path: data[entry.identity] for path, entry in inside.items() if entry.is_file}
    plain |= {path: more[entry.identity] for path, entry in targets.items()}
    modes = {path: targets.get(path, inside[path]).mode for path in plain}
    return {
        path.removeprefix(prefix): File(content, modes[path] == _EXECUTABLE)
        for path, content in plain.items()
        if _can_be_held(path)
    }


def _warn_of_absent(files: Mapping[str, File], folder: str, where: str) -> None:
    """Say what a run will miss: contents that Git LFS keeps elsewhere, and files above."""
    pointers = sorted(path for path, each in files.items() if is_lfs_pointer(each.data))
    if pointers:
        logger.warning(
            "%s: %s holds a Git LFS pointer, and a run reads that, not what it points at",
            *(where, ", ".join(pointers[:_SHOWN])),
        )
    above = sorted(path for path, each in files.items() if _reads_above(path, each.data))
    if folder and above:
        logger.warning(
            "%s: %s seems to read files above %s/, which is all that a run has; "
            'name a folder with both in folder="..."',
            *(where, ", ".join(above[:_SHOWN]), folder),
        )


def _reads_above(path: str, data: bytes) -> bool:
    """Tell whether a module at the top of the folder names something above it."""
    return path.endswith(".py") and "/" not in path and _ABOVE.search(data) is not None


def _can_be_held(path: str) -> bool:
    try:
        check_path(path)
    except ConfigError as error:
        logger.warning("%s is left out: %s", ascii(path), error.what)
        return False
    return True


def _target(data: bytes) -> str:
    return data.decode(errors="surrogateescape")
