"""Images in registries and in this machine's engine, as `casflow gc` sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from casflow.cli.output import note
from casflow.cli.table import plural
from casflow.errors import MissingExtraError, UnavailableError
from casflow.gc.engine_images import collect_engine
from casflow.gc.images import ImageVersion, collect_images
from casflow.storage import load
from casflow.storage.docker.engine import Engine
from casflow.storage.docker.names import ImageName, split_url
from casflow.storage.docker.registry import Registry

if TYPE_CHECKING:
    from casflow.cli.stores import KnownStores
    from casflow.gc import Limits, Policy
    from casflow.gc.images import ImageReport
    from casflow.registry import Version


def collect(
    found: KnownStores, policy: Policy, limits: Limits, *, yes: bool, ask: bool
) -> list[ImageReport]:
    """Collect the images that versions of the registry stand in; none without a policy.

    Args:
        found: What the registry knows.
        policy: What retention keeps.
        limits: How long to wait.
        yes: Whether to do it and not only to say what would be done.
        ask: Whether a person is there to be asked.
    """
    if not policy:
        return []
    reports = _collect(found, policy, limits, dry_run=not yes)
    if yes or not ask or not any(each.condemned or each.deleted for each in reports):
        return reports
    for each in reports:
        show(each)
    if not click.confirm("Do it?", err=True):
        return reports
    return _collect(found, policy, limits, dry_run=False)


def _collect(
    found: KnownStores, policy: Policy, limits: Limits, *, dry_run: bool
) -> list[ImageReport]:
    reports = []
    for versions in found.images.values():
        images = [_image_version(each, kept=each.id in found.wanted) for each in versions]
        registry = _registry(versions[-1])
        reports.append(collect_images(registry, images, policy, limits, dry_run=dry_run))
    return reports + _collect_engine(found, policy, limits, dry_run=dry_run)


def _collect_engine(
    found: KnownStores, policy: Policy, limits: Limits, *, dry_run: bool
) -> list[ImageReport]:
    """Collect in this machine's engine, if there is one and the registry knows flows in images."""
    repositories = [
        [_image_version(each, kept=each.id in found.wanted) for each in versions]
        for versions in (*found.images.values(), *found.engine_images.values())
    ]
    if not repositories:
        return []
    try:
        return collect_engine(Engine(), repositories, policy, limits, dry_run=dry_run)
    except (UnavailableError, MissingExtraError) as error:
        if found.engine_images:
            note(f"images in an engine are left alone: {error}")
        return []


def _registry(version: Version) -> Registry:
    scheme = split_url(getattr(load(version.storage), "registry_url", None))[0]
    return Registry(ImageName.parse(version.location).api_host, scheme=scheme)


def _image_version(version: Version, *, kept: bool) -> ImageVersion:
    image = ImageName.parse(version.location)
    reference = load(version.storage).references.get(version.flow)
    own_tag = None if reference is None else reference.extra.get("own_tag")
    return ImageVersion(
        (version.project, version.flow),
        version.number,
        version.created,
        version.labels,
        image,
        str(own_tag or image.tag),
        kept,
        str(version.storage.get("environment") or ""),
    )


def show(report: ImageReport) -> None:
    """Print what was done to a repository, or would be."""
    would = "would be " if report.dry_run else ""
    where = " in the engine" if report.place == "engine" else ""
    click.echo(f"{report.repository}: {plural(report.images, 'image')}{where}")
    _line(f"{would}condemned", report.condemned, "retention keeps none of their versions")
    _line("then waiting" if report.dry_run else "waiting", report.waiting, "for a later run")
    why = "their layers go when the registry's own collector runs"
    if report.place == "engine":
        why = "no kept version stands in them or is built on them"
    _line(f"{would}deleted", report.deleted, why)


def _line(what: str, images: list[str], why: str) -> None:
    if images:
        click.echo(f"  {what}: {plural(len(images), 'image')}; {why}")
