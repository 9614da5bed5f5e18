from contextlib import contextmanager

from ..settings import SETTINGS
from . import drivers


@contextmanager
def open_store(url=SETTINGS.url):
    driver = drivers.find(url)()
    try:
        yield driver
    finally:
        driver.closed = True
