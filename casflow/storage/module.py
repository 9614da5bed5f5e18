"""Flows of an importable module: the code is installed where it runs, nothing is stored."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, BinaryIO

