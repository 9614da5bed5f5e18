"""Scripts in repositories of GitHub and GitHub Enterprise, over REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from casflow import http
from casflow.storage.rest import RestStorage
from casflow.storage.source import Content
from casflow.storage.validation import (
    check_blob_id,
    check_id,
    clean_url,
    decode_base64,
    not_a_file,
    repository_path,
)

if TYPE_CHECKING:
    from casflow.http import Answer

API = "https://api.github.com"
SECRET = "GITHUB_ACCESS_TOKEN"  # noqa: S105 - a secret's name
_JSON = "application/vnd.github+json"
_VERSION = {"X-GitHub-Api-Version": "2022-11-28"}


class GitHub(RestStorage):
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
        self.repo = repository_path(repo, "owner/name")
        self.access_token_secret = access_token_secret
        self.base_url = None if base_url is None else clean_url(base_url)

    @property
    def address(self) -> str:
        """The API's address and the repository."""
        return f"{self.base_url or API}/repos/{quote(self.repo)}"

    @property
    def is_default_host(self) -> bool:
        """Whether it is api.github.com."""
        return self.base_url in (None, API)

    def head_request(self) -> tuple[str, dict[str, str]]:
        """Ask for the bare id of the ref's commit."""
        ref = quote(self.ref or "HEAD", safe="")
        return f"commits/{ref}", {"Accept": "application/vnd.github.sha"}

    def commit_of(self, answer: Answer) -> object:
        """Take the answer as it is."""
        return answer.text

    def read(self, commit: str) -> Content:
        """Download the script with its blob id, which is checked."""
        where = f"{self.address}:{self.path}"
        answer = self.ask(f"contents/{quote(str(self.path))}?ref={commit}", f":{self.path}")
        if answer.body.lstrip().startswith(b"["):  # the list of a folder
            raise not_a_file("directory", where)
        form = http.read_object(answer, where=where)
        kind = http.member(form, "type", str, where=where)
        if kind != "file":
            raise not_a_file(kind, where)
        identity = check_id(form.get("sha"), where=where)
        if form.get("encoding") != "base64":  # a file over 1 MB comes without its content
            answer = self.ask(f"git/blobs/{identity}", f":{self.path}")
            form = http.read_object(answer, where=where)
        data = decode_base64(http.member(form, "content", str, where=where), where=where)
        return Content(check_blob_id(data, identity, where=where))

    def ask(self, rest: str, what: str, **headers: str) -> Answer:
        """Ask this version of the API."""
        return super().ask(rest, what, **{"Accept": _JSON, **_VERSION, **headers})

    def credential(self) -> tuple[http.Credential, str]:
        """Return that of the access token."""
        return self.token_credential(self.access_token_secret, SECRET, "repository")
