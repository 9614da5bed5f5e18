"""The storages that speak REST: one small request for a commit, on a condition where there is one.

Owns how such a host is asked. Invariant: an ETag that the host gave goes back with the next
question, and 304 means the commit of last time; a host that gives none is asked without condition.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from casflow import http
from casflow.storage.source import Head, SourceStorage
from casflow.storage.validation import check_commit

if TYPE_CHECKING:
    from casflow.http import Answer


class RestStorage(SourceStorage):
    """A script in a repository of a host with a REST API."""

    @abstractmethod
    def head_request(self) -> tuple[str, dict[str, str]]:
        """Return the address below `address` that tells the ref's commit, and its headers."""

    @abstractmethod
    def commit_of(self, answer: Answer) -> object:
        """Return the commit's id that stands in the answer to that."""

    @abstractmethod
    def credential(self) -> tuple[http.Credential, str]:
        """Return what a request is signed with, and what helps when the host refuses it."""

    def look_up(self, etag: str | None) -> Head | None:
        """Ask for the ref's commit; what is unchanged costs no quota."""
        rest, headers = self.head_request()
        headers |= http.if_none_match(etag)
        answer = self.ask(rest, f"@{self.ref or 'the default branch'}", **headers)
        if answer.status == http.NOT_MODIFIED:
            return None
        commit = check_commit(self.commit_of(answer), where=self.address)
        return Head(commit, http.etag_of(answer))

    def ask(self, rest: str, what: str, **headers: str) -> Answer:
        """Return the answer to a question below `address`; messages name it by `what`."""
        return self.ask_at(f"{self.address}/{rest}", what, **headers)

    def ask_at(self, url: str, what: str, **headers: str) -> Answer:
        """Return the answer at an address of the host."""
        where = f"{self.address}{what}"
        auth, hint = self.credential()
        answer = http.send("GET", url, where=where, auth=auth, headers=headers)
        return http.check(answer, where=where, hint=hint)

    @property
    @abstractmethod
    def is_default_host(self) -> bool:
        """Whether the host is the public one, which alone gets a token that was not named."""

    def token_credential(
        self, named: str | None, default: str, thing: str
    ) -> tuple[http.Credential, str]:
        """Return the credential of a token, if there is one, for something that may be private."""
        if named is None and default not in self.secrets and not self.is_default_host:
            hint = f"check the names; if the {thing} is private, name its token's secret"
            return http.bearer(None), hint
        token = self.token(named, default)
        hint = f"check the names, and that the token in {named or default} may read the {thing}"
        if token is None:
            hint = f"check the names; if the {thing} is private, set the secret {default}"
        return http.bearer(token), hint
