"""A package as teams write them: re-exports, lazy members, state."""

from .base import Base, registry
from .io_ import open_store
from .settings import SETTINGS, Settings, get_settings

__version__ = "1.2.3"
__all__ = ["Base", "SETTINGS", "Settings", "get_settings", "open_store", "registry"]


def __getattr__(name):
    if name == "lazy_part":
        from . import late

        return late.PART
    raise AttributeError(name)
