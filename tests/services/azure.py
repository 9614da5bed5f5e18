"""Azure blobs: azurite, from npm, which honours `overwrite=False`."""

from __future__ import annotations

import os
import shutil
from typing import Any, ClassVar

from tests.services.objects import ObjectServer
from tests.services.presence import cache_folder
from tests.services.process import Server

ACCOUNT = "devstoreaccount1"
# The account key that azurite's documentation gives: public, the same on every machine.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def find_azurite() -> str | None:
    """Return the path of azurite's blob server, or None.

    It is looked for in the folder `CASFLOW_TEST_AZURITE`, on the path, and where CI installs it.
    """
    named = os.environ.get("CASFLOW_TEST_AZURITE")
    installed = cache_folder() / "azurite/node_modules/.bin"
    search = [named] if named else [os.environ.get("PATH", ""), str(installed)]
    return shutil.which("azurite-blob", path=os.pathsep.join(search))


class AzuriteServer(Server):
    """The server process; its blobs are files in its folder."""

    name = "azure"

    def command(self) -> list[str]:
        """Return the command line."""
        place = ["--location", str(self.folder), "--blobHost", "127.0.0.1"]
        quiet = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        return [find_azurite() or "azurite-blob", *place, "--blobPort", str(self.port), *quiet]


class Azure(ObjectServer):
    """An Azure blob endpoint with azurite's one account."""

    protocol: ClassVar[str] = "abfs"

    @property
    def connection_string(self) -> str:
        """The account's connection string, its key included."""
        account = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY}"
        return f"{account};BlobEndpoint={self.url}/{ACCOUNT};"

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `adlfs.AzureBlobFileSystem`."""
        return {"connection_string": self.connection_string}

    @property
    def environ(self) -> dict[str, str]:
        """What Azure's clients read."""
        return {"AZURE_STORAGE_CONNECTION_STRING": self.connection_string}
