"""Images and registries for the tests of Docker storage.

The images that flows go into are made once for a session, from the base image with all that
casflow needs installed, so that no build of a test has to reach a package index.
"""

from __future__ import annotations

import io
import os
import tarfile
import tomllib
from pathlib import Path

import pytest

from tests.home import home

__all__ = ["home"]

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def context(files):
    """Return a build context of these files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


def indexes(arguments=()):
    """Return build arguments that let pip reach the index that this machine reaches."""
    names = ("PIP_CERT", "PIP_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return [each for name in names if name in os.environ for each in ("--build-arg", name)]


@pytest.fixture(scope="session")
def ready_image(docker_engine, base_image):
    """Name of an image in the engine with everything that casflow needs."""
    needed = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    text = "ARG PIP_CERT\nARG PIP_INDEX_URL\nRUN python -m pip install --no-cache-dir "
    words = " ".join(f"'{each}'" for each in needed)
    name = "casflow-test/ready:1"
    docker_engine.docker(
        "build", "--network=host", "-t", name, *indexes(), "-",
        input=context({"Dockerfile": f"FROM {base_image}\n{text}{words}\n"}).decode("latin-1"),
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )  # fmt: skip
    return name


@pytest.fixture(scope="session")
def pushed_base(docker_engine, ready_image, oci_registry):
    """Name of the same image in the registry."""
    name = f"{oci_registry.host}/base/python:3.11"
    docker_engine.docker("tag", ready_image, name)
    docker_engine.docker("push", name)
    return name
