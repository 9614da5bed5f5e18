"""A registry behind nginx: TLS by a private authority, and a password."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.services.presence import program, require
from tests.services.process import Server

if TYPE_CHECKING:
    from pathlib import Path

USER, PASSWORD = "casflow", "sentinel-tls-4c1e"
_SETTINGS = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/host.crt;
        ssl_certificate_key {folder}/host.key;
        auth_basic registry;
        auth_basic_user_file {folder}/htpasswd;
        location / {{
            proxy_pass http://{upstream};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto https;
            proxy_set_header Authorization "";
        }}
    }}
}}
"""


def require_tls_registry() -> None:
    """Skip or fail unless nginx and openssl are on the machine."""
    require("registry with TLS", "nginx", "openssl", install="nginx-light openssl")


class TlsRegistry(Server):
    """The front of a registry.

    Args:
        upstream: Host and port of the registry.
    """

    name = "nginx"
    settings = _SETTINGS

    def __init__(self, upstream: str) -> None:
        super().__init__()
        self._upstream = upstream

    @property
    def host(self) -> str:
        """Host and port, as they stand in an image's name."""
        return f"127.0.0.1:{self.port}"

    @property
    def authority(self) -> Path:
        """Certificate of the authority."""
        return self.folder / "ca.crt"

    def command(self) -> list[str]:
        """Return the command line, after making keys and settings."""
        self.folder.chmod(0o755)  # for the workers, which are another user's
        self._make_keys()
        hashed = self._openssl("passwd", "-apr1", PASSWORD).strip()
        (self.folder / "htpasswd").write_text(f"{USER}:{hashed}\n")
        settings = self.folder / "nginx.conf"
        parts = {"folder": self.folder, "port": self.port, "upstream": self._upstream}
        settings.write_text(self.settings.format(**parts))
        return [program("nginx"), "-c", str(settings), "-p", str(self.folder)]

    def _make_keys(self) -> None:
        new = ("req", "-newkey", "rsa:2048", "-nodes", "-days", "2")
        name = (
            "-subj",
            "/CN=casflow test authority",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
        )
        self._openssl(*new, "-x509", *name, "-keyout", "ca.key", "-out", "ca.crt")
        self._openssl(*new[:4], "-subj", "/CN=127.0.0.1", "-keyout", "host.key", "-out", "host.csr")
        (self.folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
        sign = (
            "x509",
            "-req",
            "-in",
            "host.csr",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-days",
            "2",
        )
        self._openssl(*sign, "-CAcreateserial", "-extfile", "san", "-out", "host.crt")

    def _openssl(self, *arguments: str) -> str:
        command = [program("openssl"), *arguments]
        ran = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True)
        return ran.stdout

    def trust_in(self, home: Path) -> None:
        """Let a home trust the authority, where podman and Docker look for one."""
        folder = home / ".config" / "containers" / "certs.d" / self.host
        folder.mkdir(parents=True)
        shutil.copy(self.authority, folder / "ca.crt")


class DowngradingRegistry(TlsRegistry):
    """A front that does not tell the registry of TLS, so that this names addresses without it."""

    settings = "".join(
        line for line in _SETTINGS.splitlines(keepends=True) if "X-Forwarded-Proto" not in line
    )


class TlsFront(TlsRegistry):
    """The front of any server: TLS by a private authority, and nothing else."""

    settings = "".join(line for line in _SETTINGS.splitlines(keepends=True) if "uth" not in line)

    @property
    def url(self) -> str:
        """Where the front answers."""
        return f"https://{self.host}"
