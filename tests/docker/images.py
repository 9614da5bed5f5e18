"""Base images that are put into a registry without an engine."""

from __future__ import annotations

import gzip
import json

from casflow.storage.docker.layer import sha256
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.recipe import PYTHON_LABEL, python_version
from casflow.storage.docker.registry import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
    Registry,
)

KINDS = {"oci": (OCI_MANIFEST, OCI_INDEX), "docker": (DOCKER_MANIFEST, DOCKER_INDEX)}


def put_base(host, repository, archive, *, kind="oci", index=True, labels=None, registry=None):
    """Put an image of one layer, and an index of platforms over it; return its name."""
    name, registry = ImageName(host, repository, "1"), registry or Registry(host)
    media_type, index_type = KINDS[kind]
    labels = {PYTHON_LABEL: python_version()} if labels is None else labels
    layer = gzip.compress(archive, mtime=0)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Env": ["PATH=/bin", "KEPT=1"],
                "Labels": {"kept": "yes", **labels},
            },
            "rootfs": {"type": "layers", "diff_ids": [sha256(archive)]},
            "history": [{"created_by": "base"}],
        }
    ).encode()
    for data in (layer, config):
        registry.put_blob(name, data, sha256(data))
    form = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **_name(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **_name(layer)}],
    }
    manifest = _manifest(form, media_type)
    platforms = [{"architecture": each, "os": "linux"} for each in ("arm64", "amd64")]
    if index:
        registry.put_manifest(name.tagged("amd64"), manifest)
        listed = {"mediaType": media_type, "size": len(manifest.data), "digest": manifest.digest}
        entries = [{**listed, "platform": each} for each in platforms]
        form = {"schemaVersion": 2, "mediaType": index_type, "manifests": entries}
        manifest = _manifest(form, index_type)
    registry.put_manifest(name, manifest)
    return str(name)


def _manifest(form, media_type):
    data = json.dumps(form).encode()
    return Manifest(data, media_type, sha256(data))


def _name(data):
    return {"size": len(data), "digest": sha256(data)}
