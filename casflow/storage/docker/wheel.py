"""The running casflow as a wheel, to be installed in an image.

Owns how an installed package becomes a wheel again. Invariant: the same files give the same
bytes, so an image is built anew only when casflow itself has changed.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from base64 import urlsafe_b64encode
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from casflow.errors import ConfigError

_TAGS = "Wheel-Version: 1.0\nGenerator: casflow\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest that a zip file can say
_MODE = 0o100644 << 16


def make_wheel() -> tuple[str, bytes]:
    """Return the name and the bytes of a wheel of the running casflow.

    Raises:
        ConfigError: It runs without having been installed.
    """
    try:
        installed = distribution("casflow")
    except PackageNotFoundError as error:
        raise ConfigError("casflow is not installed", hint="pip install it first") from error
    info = f"casflow-{installed.version}.dist-info"
    files = _code() | _metadata(installed, info)
    record = "".join(f"{name},sha256={_hash(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    return f"casflow-{installed.version}-py3-none-any.whl", _zip(files)


def _code() -> dict[str, bytes]:
    root = Path(__file__).parents[2]
    kinds = (".py", ".typed")
    paths = sorted(each for each in root.rglob("*") if each.is_file() and each.suffix in kinds)
    return {f"casflow/{path.relative_to(root).as_posix()}": path.read_bytes() for path in paths}


def _metadata(installed: Distribution, info: str) -> dict[str, bytes]:
    parts = {"METADATA": None, "WHEEL": _TAGS, "entry_points.txt": None}
    texts = {name: text or installed.read_text(name) for name, text in parts.items()}
    return {f"{info}/{name}": text.encode() for name, text in texts.items() if text}


def _hash(data: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _zip(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = _MODE
            archive.writestr(entry, data)
    return made.getvalue()
