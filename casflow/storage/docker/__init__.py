"""Docker storage: flows in images, by digest."""

from __future__ import annotations

from casflow.storage.docker.storage import Docker

__all__ = ["Docker"]
