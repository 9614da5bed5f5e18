"""A service that stores one content per path, as a file service does, for the Webhook storage.

`POST /2/files/upload` and `/2/files/download` name the path in the header `Dropbox-API-Arg`; any
other address is taken by any verb: with a body it stores, without one it returns.
"""

from __future__ import annotations

import json

from tests.hosts.server import Answer, Host, Request


class ContentHost(Host):
    """Keeps contents in memory; the token is the bearer token."""

    def __init__(self, token: str | None = None) -> None:
        super().__init__(None, token)  # type: ignore[arg-type]
        self.contents: dict[str, bytes] = {}

    def refuse(self, request: Request) -> Answer | None:
        """Refuse a request without the bearer token."""
        given = request.headers.get("Authorization")
        if self.token is None or given == f"Bearer {self.token}":
            return None
        return Answer.json({"error_summary": "invalid_access_token/..."}, 401)

    def absent(self, what: str) -> Answer:
        """Return 404."""
        return Answer.json({"error_summary": what}, 404)

    def dispatch(self, request: Request) -> Answer:
        """Store or return a content."""
        name = request.path.removesuffix("/store").removesuffix("/load")
        if "Dropbox-Api-Arg" in request.headers:
            name = json.loads(request.headers["Dropbox-Api-Arg"])["path"]
        if request.path.endswith(("/upload", "/store")):
            self.contents[name] = request.body
            return Answer.json({"path_display": name, "size": len(request.body)})
        if name not in self.contents:
            return self.absent("path/not_found/...")
        return Answer(200, self.change(self.contents[name]))
