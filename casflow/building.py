"""The flows that are being built here.

Owns the context variable, which those have to look at that a flow may not use meanwhile. Invariant:
it belongs to one thread (or asynchronous task).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

flows: ContextVar[tuple[Any, ...]] = ContextVar("casflow_building", default=())
"""The innermost flow is the last."""
