"""CodeCommit's JSON 1.1 protocol, for a client's own serialiser."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from tests.hosts.server import Answer, Host, Request

if TYPE_CHECKING:
    from tests.hosts.repository import Entry

PREFIX = "CodeCommit_20150413."
LARGEST = 6_000_000  # bytes of a file that GetFile returns


class CodeCommitHost(Host):
    """Serves the repository as `repo`; the token is the access key id that signs."""

    largest = LARGEST

    def refuse(self, request: Request) -> Answer | None:
        """Refuse a request that another key signed."""
        given = request.headers.get("Authorization", "")
        if self.token is None or f"Credential={self.token}/" in given:
            return None
        return self.error("UnrecognizedClientException", "The security token is invalid.")

    def error(self, kind: str, message: str) -> Answer:
        """Return an error of the protocol."""
        return Answer.json({"__type": kind, "message": message}, 400)

    @property
    def asked(self) -> list[str]:
        """The actions that were asked for."""
        return [each.headers["X-Amz-Target"].removeprefix(PREFIX) for each in self.log]

    def slow_down(self) -> None:
        """Answer that there are too many requests, until `recover`."""
        self.trouble = self.error("ThrottlingException", "Rate exceeded")

    def absent(self, what: str) -> Answer:
        """Return the error of an action that there is not."""
        return self.error("UnknownOperationException", what)

    def dispatch(self, request: Request) -> Answer:
        """Give a request to the method of its action."""
        action = request.headers.get("X-Amz-Target", "").removeprefix(PREFIX)
        asked = json.loads(request.body)
        if asked.get("repositoryName") != "repo":
            what = f"{asked.get('repositoryName')} does not exist"
            return self.error("RepositoryDoesNotExistException", what)
        actions = {
            "GetRepository": self.about,
            "GetBranch": self.branch,
            "ListBranches": self.branches,
            "GetCommit": self.commit,
            "GetFolder": self.folder,
            "GetFile": self.file,
        }
        return actions[action](asked) if action in actions else self.absent(action)

    def about(self, _: dict[str, Any]) -> Answer:
        """Describe the repository."""
        branch = self.repository.default()
        return _json({"repositoryMetadata": {"repositoryName": "repo", "defaultBranch": branch}})

    def branch(self, asked: dict[str, Any]) -> Answer:
        """Return a branch."""
        commit = self.repository.resolve(f"refs/heads/{asked['branchName']}")
        if commit is None:
            return self.error("BranchDoesNotExistException", "no such branch")
        return _json({"branch": {"branchName": asked["branchName"], "commitId": commit}})

    def branches(self, asked: dict[str, Any]) -> Answer:
        """List branches, five a page."""
        start = int(asked.get("nextToken", "0"))
        names = list(self.repository.refs("heads"))
        more = {"nextToken": str(start + 5)} if start + 5 < len(names) else {}
        return _json({"branches": names[start : start + 5], **more})

    def commit(self, asked: dict[str, Any]) -> Answer:
        """Return a commit."""
        commit = self.repository.resolve(asked["commitId"])
        if commit is None:
            return self.error("CommitIdDoesNotExistException", "no such commit")
        return _json({"commit": {"commitId": commit}})

    def _resolved(self, asked: dict[str, Any]) -> str | None:
        return self.repository.resolve(asked.get("commitSpecifier", "HEAD"))

    def folder(self, asked: dict[str, Any]) -> Answer:
        """List a folder at a commit."""
        commit = self._resolved(asked)
        if commit is None:
            return self.error("CommitDoesNotExistException", "Could not resolve the specifier")
        path = asked["folderPath"].strip("/")
        top = self.repository.entry(commit, path)
        if path and (top is None or top.kind != "tree"):
            return self.error("FolderDoesNotExistException", "Could not find the path")
        found: dict[str, list[dict[str, str]]] = {
            kind: [] for kind in ("files", "symbolicLinks", "subModules", "subFolders")
        }
        for entry in self.repository.entries(commit, path):
            kind, form = _listed(entry, path)
            found[kind].append(form)
        return _json({"commitId": commit, "folderPath": path, **found})

    def file(self, asked: dict[str, Any]) -> Answer:
        """Return a file at a commit."""
        commit = self._resolved(asked)
        if commit is None:
            return self.error("CommitDoesNotExistException", "Could not resolve the specifier")
        entry = self.repository.entry(commit, asked["filePath"])
        if entry is None or entry.kind != "blob":
            return self.error("FileDoesNotExistException", "Could not find the path")
        data = self.change(self.repository.read(entry.id))
        if len(data) > self.largest:
            return self.error("FileTooLargeException", "The file exceeds the limit")
        form = {"commitId": commit, "blobId": entry.id, "filePath": asked["filePath"]}
        kind = {"fileMode": _modes.get(entry.mode, "NORMAL"), "fileSize": len(data)}
        return _json({**form, **kind, "fileContent": base64.b64encode(data).decode()})


_modes = {"100755": "EXECUTABLE", "100644": "NORMAL", "120000": "SYMLINK"}


def _listed(entry: Entry, folder: str) -> tuple[str, dict[str, str]]:
    path = f"{folder}/{entry.path}".lstrip("/")
    names = {"absolutePath": path, "relativePath": entry.path}
    if entry.kind == "tree":
        return "subFolders", {**names, "treeId": entry.id}
    if entry.kind == "commit":
        return "subModules", {**names, "commitId": entry.id}
    kind = "symbolicLinks" if entry.mode == "120000" else "files"
    return kind, {**names, "blobId": entry.id, "fileMode": _modes[entry.mode]}


def _json(value: dict[str, Any]) -> Answer:
    answer = Answer.json(value)
    answer.headers["Content-Type"] = "application/x-amz-json-1.1"
    return answer
