"""What this machine's container engines trust of a registry: an authority of its own, or no TLS.

Owns where Docker and podman are told so: `certs.d`, `daemon.json`, `registries.conf`. Invariant:
a registry is trusted here for no more than there; a file that cannot be read says nothing.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import ssl
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT = 10.0  # seconds that a registry may take to show whether it speaks TLS


def authority(host: str) -> str | None:
    """Return the certificate of the authority that engines trust for a registry, or None.

    Args:
        host: Host and port.
    """
    if "/" in host:
        return None
    for folder in _folders("docker", "containers"):
        with suppress(OSError):
            for path in sorted((folder / "certs.d" / host).glob("*.crt")):
                return str(path)
    return None


def is_insecure(host: str) -> bool:
    """Tell whether engines speak to a registry without TLS, or without asking who it is.

    Args:
        host: Host and port.
    """
    return any(_covers(each, host) for each in (*_of_docker(), *_of_podman()))


def speaks_tls(host: str) -> bool:
    """Tell whether a registry speaks TLS, whoever it is."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    name, port = _split(host)
    try:
        with (
            socket.create_connection((name, port or 443), _TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=name),
        ):
            return True
    except OSError:
        return False


def _folders(*programs: str) -> list[Path]:
    """Return the folders of settings, the user's own first."""
    homes = Path.home() / ".config", Path("/etc")
    return [home / program for home in homes for program in programs]


def _of_docker() -> Iterator[str]:
    for folder in _folders("docker"):
        with suppress(OSError, ValueError):
            form = json.loads((folder / "daemon.json").read_bytes())
            yield from _texts(form, "insecure-registries")


def _of_podman() -> Iterator[str]:
    named = os.environ.get("CONTAINERS_REGISTRIES_CONF")
    folders = _folders("containers")
    files = [Path(named)] if named else [each / "registries.conf" for each in folders]
    for folder in folders:
        files += sorted((folder / "registries.conf.d").glob("*.conf"))
    for file in files:
        with suppress(OSError, ValueError, AttributeError, TypeError):
            form = tomllib.loads(file.read_text())
            yield from _texts(form.get("registries", {}).get("insecure", {}), "registries")
            for each in form.get("registry", ()):
                if each.get("insecure") is True:
                    yield str(each.get("prefix") or each.get("location", ""))


def _texts(form: Any, key: str) -> list[str]:
    found = form.get(key) if isinstance(form, dict) else None
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _covers(entry: str, host: str) -> bool:
    """Tell whether an entry of the settings is about a host: by name, pattern or network."""
    name, _ = _split(host)
    if "/" in entry:
        try:
            return ipaddress.ip_address(name) in ipaddress.ip_network(entry, strict=False)
        except ValueError:  # a part of a registry, or the name of a host
            return False
    if entry.startswith("*."):
        return name.endswith(entry[1:])
    return bool(entry) and (host == entry or host.startswith(f"{entry}:"))


def _split(host: str) -> tuple[str, int | None]:
    parts = urlsplit(f"//{host}")
    return parts.hostname or "", parts.port
