"""S3: moto's server in a process of its own, which honours exclusive creates."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from tests.services.objects import ObjectServer
from tests.services.process import Server


class MotoServer(Server):
    """The server process; all its state is in memory."""

    name = "s3"

    def command(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]


class S3(ObjectServer):
    """An S3 endpoint with credentials that it accepts."""

    protocol: ClassVar[str] = "s3"

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `s3fs.S3FileSystem`."""
        client = {"endpoint_url": self.url, "region_name": "us-east-1"}
        return {"key": "test-key", "secret": "test-secret", "client_kwargs": client}

    @property
    def environ(self) -> dict[str, str]:
        """What boto3's own chain reads."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test-key",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def _make_bucket(self, name: str) -> None:
        # s3fs sends the region as a constraint, which the first region does not take.
        self.filesystem().call_s3("create_bucket", Bucket=name)
