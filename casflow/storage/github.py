"""Scripts in repositories of GitHub and GitHub Enterprise, over REST."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from casflow.storage import http
from casflow.storage.checks import check_blob_id, check_commit, clean_url, not_a_file
from casflow.storage.source import Content, Head, SourceStorage

if TYPE_CHECKING:
    from requests import Response

API = "https://api.github.com"
SECRET = "GITHUB_ACCESS_TOKEN"  # noqa: S105 - a secret's name
_VERSION = {"X-GitHub-Api-Version": "2022-11-28"}


class GitHub(SourceStorage):
    """A script in a repository of GitHub.

    Args:
        repo: `owner/name`.
        path: The script in the repository.
        ref: Branch, tag or commit id; the default branch when left out.
        access_token_secret: Name of the secret that holds an access token; `GITHUB_ACCESS_TOKEN`
            is used if it is set.
        base_url: Address of the REST API of GitHub Enterprise.
        options: What every storage of this family takes.
    """

    fields = ("repo", "path", "ref", "access_token_secret", "base_url", "pin", "on_unreachable")

    def __init__(
        self,
        repo: str,
        path: str,
        ref: str | None = None,
        access_token_secret: str | None = None,
        base_url: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(path=path, ref=ref, **options)
        self.repo = repo
        self.access_token_secret = access_token_secret
        self.base_url = None if base_url is None else clean_url(base_url)

    @property
    def address(self) -> str:
        """The API's address and the repository."""
        return f"{self.base_url or API}/repos/{quote(self.repo)}"

    def look_up(self, etag: str | None) -> Head | None:
        """Ask for the bare id of the ref's commit; an unchanged one costs no quota."""
        ref = self.ref or "HEAD"
        accept = {"Accept": "application/vnd.github.sha"}
        condition = {} if etag is None else {"If-None-Match": etag}
        answer = self._get(f"commits/{quote(ref, safe='')}", f"@{ref}", **accept, **condition)
        if answer.status_code == 304:  # noqa: PLR2004
            return None
        return Head(check_commit(answer.text, where=self.address), answer.headers.get("ETag"))

    def read(self, commit: str) -> Content:
        """Download the script with its blob id, which is checked."""
        where = f"{self.address}:{self.path}"
        answer = self._get(f"contents/{quote(str(self.path))}?ref={commit}", f":{self.path}")
        form = http.json_of(answer, where=where)
        kind = form.get("type") if isinstance(form, dict) else "directory"
        if kind != "file":
            raise not_a_file(str(kind), where)
        if form.get("encoding") != "base64":  # a file over 1 MB comes without its content
            form |= http.json_of(
                self._get(f"git/blobs/{form['sha']}", f":{self.path}"), where=where
            )
        return Content(check_blob_id(base64.b64decode(form["content"]), form["sha"], where=where))

    def _get(self, rest: str, what: str, **headers: str) -> Response:
        token = self.token(self.access_token_secret, SECRET)
        where = f"{self.address}{what}"
        answer = http.send(
            "GET",
            f"{self.address}/{rest}",
            where=where,
            auth=http.bearer(token),
            headers={"Accept": "application/vnd.github+json", **_VERSION, **headers},
        )
        return http.check(answer, where=where, hint=self._hint(token))

    def _hint(self, token: str | None) -> str:
        if token is None:
            return f"check the names; if the repository is private, set the secret {SECRET}"
        name = self.access_token_secret or SECRET
        return f"check the names, and that the token in {name} may read the repository"
