import os
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
LOG_FILE = BASE_DIR / "log.txt"
ZERO = Decimal(0)
DEBUG = False
_overrides = {}


@dataclass(frozen=True)
class Settings:
    url: str = "sqlite://"
    retries: int = 3
    tags: frozenset = frozenset({"a", "b"})


SETTINGS = Settings()


@lru_cache(maxsize=None)
def get_settings():
    return Settings(**_overrides)


def override(**values):
    _overrides.update(values)
    get_settings.cache_clear()
    return get_settings()


def debug():
    return DEBUG
