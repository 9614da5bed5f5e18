"""Flows in images: what is signed names the image, and that is the one that is started."""

from __future__ import annotations

from dataclasses import replace

import pytest

from casflow.agents.docker import verified_image
from casflow.agents.kubernetes import JobOptions, job
from casflow.digests import digest_of
from casflow.errors import SignatureError
from casflow.reference import PICKLE, BlobName, Reference
from casflow.registry import Registry
from casflow.signing import SigningKey
from casflow.storage import Docker, load

IMAGE = f"registry.example.com/etl@sha256:{'ab' * 32}"
EVIL = f"registry.example.com/etl@sha256:{'cd' * 32}"


@pytest.fixture
def version(home, keys):
    """A version of a flow in an image, which anna signed."""
    storage = Docker(registry_url="registry.example.com", image_name="etl")
    blob = BlobName(digest_of(b"flow"), 0, 4)
    created = "2026-11-22T23:38:15.315496+00:00"
    reference = Reference("etl", blob, PICKLE, created, extra={"image": IMAGE})
    storage.flows["etl"], storage.references["etl"] = IMAGE, reference
    storage.sign("etl", reference, SigningKey(str(keys["anna"])))
    with Registry(f"sqlite:///{home / 'registry.db'}") as registry:
        return registry.add_version(
            project="default", flow="etl", digest=blob.digest, storage=storage.serialize(),
            reference=reference.to_dict(), labels=(), location=IMAGE,
        )  # fmt: skip


def image_of(version):
    return job(version, JobOptions())["spec"]["template"]["spec"]["containers"][0]["image"]


def test_the_image_that_is_started_is_the_one_that_was_signed(version, trusting, policy):
    elsewhere = replace(version, location=EVIL)
    assert image_of(elsewhere) == EVIL  # nobody asked who said so
    policy("etl")
    with pytest.raises(SignatureError, match="unknown key"):
        verified_image(version)
    trusting("anna")
    assert verified_image(version) == image_of(version) == IMAGE
    assert verified_image(elsewhere) == image_of(elsewhere) == IMAGE


def test_another_image_needs_another_signature(version, trusting, policy):
    trusting("anna")
    policy("etl")
    form = version.storage["references"]["etl"]
    references = {"etl": {**form, "image": EVIL}}
    changed = replace(version, storage={**version.storage, "references": references})
    for act in (verified_image, image_of):
        with pytest.raises(SignatureError, match="not signed"):
            act(changed)
    assert load(changed.storage).signatures == load(version.storage).signatures
