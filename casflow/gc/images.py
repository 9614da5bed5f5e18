"""Flows in images: retention removes casflow's own manifests and tags from a registry.

Owns the plan and the run for one repository. Invariant: an image goes only when every version that
stands in it has expired, when it has no tag but those that these versions and casflow gave it, and
when it was condemned a grace ago; whoever registers gives a condemned image no further name. The
layers stay until the registry's own collector finds that no manifest names them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from casflow.errors import UnavailableError
from casflow.gc.retention import Candidate, Policy, expired
from casflow.reference import stamp
from casflow.storage.docker.markers import (
    BY_INPUTS,
    CONDEMNED,
    condemned_at,
    condemned_at_tag,
    is_condemned,
    marker,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from casflow.gc.limits import Limits
    from casflow.storage.docker.names import ImageName
    from casflow.storage.docker.registry import Registry


class ImageVersion(NamedTuple):
    """A version of a flow that stands in an image.

    Attributes:
        flow: Project and name of the flow.
        number: Number of the version.
        created: When it was registered.
        labels: Its labels.
        image: The image, by tag and digest.
        own_tag: The tag of this registration alone.
        kept: Whether it is current, or a waiting or running run names it.
        environment: Digest of what its image is built on, if that is known.
    """

    flow: tuple[str, str]
    number: int
    created: datetime
    labels: tuple[str, ...]
    image: ImageName
    own_tag: str
    kept: bool
    environment: str = ""


@dataclass(slots=True)
class ImageReport:
    """What one run did to a repository, or would do.

    Attributes:
        repository: Its name.
        dry_run: Whether nothing was changed.
        images: Images of this registry's versions.
        condemned: Images that got a marker: retention keeps none of their versions.
        waiting: Images that were condemned less than a grace ago, by this run or before.
        deleted: Images whose manifest and tags were deleted.
        place: Where they are: in a `registry`, or in an `engine`.
    """

    repository: str
    dry_run: bool
    images: int = 0
    condemned: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    place: str = "registry"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def collect_images(
    registry: Registry,
    versions: Iterable[ImageVersion],
    policy: Policy,
    limits: Limits,
    *,
    dry_run: bool = False,
) -> ImageReport:
    """Collect the images of one repository.

    Args:
        registry: The registry that it is in.
        versions: All versions that stand in images of it.
        policy: What retention keeps; nothing expires without a rule.
        limits: How long to wait.
        dry_run: Only say what would be done.

    Raises:
        CasflowError: The registry refused or failed.
    """
    found = list(versions)
    count = len({each.image.digest for each in found})
    report = ImageReport(found[0].image.untagged, dry_run, count)
    gone = expired_images(found, policy, lambda each: str(each.image.digest))
    if gone:
        _Repository(registry, gone, limits, report).collect()
    return report


def expired_images(
    versions: list[ImageVersion], policy: Policy, key_of: Callable[[ImageVersion], str]
) -> dict[str, list[ImageVersion]]:
    """Return the images of which every version has expired: their versions, by the image's key."""
    flows: dict[tuple[str, str], dict[str, ImageVersion]] = {}
    for each in versions:
        flows.setdefault(each.flow, {})[f"{each.number}/{stamp(each.created)}"] = each
    taken = {flow: set(expired(policy, _candidates(of, policy))) for flow, of in flows.items()}
    images: dict[str, list[ImageVersion]] = {}
    needed = set()
    for flow, of in flows.items():
        for key, each in of.items():
            image = key_of(each)
            images.setdefault(image, []).append(each)
            if key not in taken[flow]:
                needed.add(image)
    return {image: of for image, of in images.items() if image not in needed}


def _candidates(versions: dict[str, ImageVersion], policy: Policy) -> list[Candidate]:
    return [
        Candidate(
            key,
            each.created.timestamp(),
            kept=each.kept or not policy.labels.isdisjoint(each.labels),
        )
        for key, each in versions.items()
    ]


class _Repository:
    """What retention takes of one repository.

    A tag that a person chose keeps its image: another registration may have given it, too.

    Args:
        registry: The registry.
        images: Versions in the images that expired, by digest.
        limits: How long to wait.
        report: Is filled in.
    """

    def __init__(
        self,
        registry: Registry,
        images: dict[str, list[ImageVersion]],
        limits: Limits,
        report: ImageReport,
    ) -> None:
        self._registry = registry
        self._images = images
        self._limits = limits
        self._report = report
        self._name = next(iter(images.values()))[0].image.tagged()

    def collect(self) -> None:
        tags = frozenset(self._registry.tags(self._name))
        now = self._now()
        by_digest = self._by_digest(tags)
        for digest, versions in self._images.items():
            own: set[str | None] = {each.own_tag for each in versions}
            there = by_digest.get(digest)
            if there is None or not all(is_ours(tag, own) for tag in there):
                continue  # gone already, or somebody else calls it something
            self._delete_or_wait(versions[0].image, digest, tags, now)

    def _delete_or_wait(
        self, name: ImageName, digest: str, tags: frozenset[str], now: float
    ) -> None:
        condemned: float | None = condemned_at(tags, digest)
        if condemned is None:
            condemned = self._condemn(name, digest, marked=is_condemned(tags, digest))
            self._report.condemned.append(str(name))
        if now - condemned < self._limits.grace and self._limits.grace:
            self._report.waiting.append(str(name))
            return
        if not self._report.dry_run:
            self._registry.delete_manifest(self._name.at(digest))
        self._report.deleted.append(str(name))

    def _condemn(self, name: ImageName, digest: str, *, marked: bool) -> float:
        """Mark an image; return a time by which it was marked."""
        if self._report.dry_run:
            return self._now()
        manifest = self._registry.get_manifest(name.at(digest))
        if not marked:
            self._registry.put_manifest(name.tagged(marker(digest)), manifest)
        time = self._now()
        self._registry.put_manifest(name.tagged(condemned_at_tag(digest, time)), manifest)
        return time

    def _by_digest(self, tags: Iterable[str]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for tag in tags:
            manifest = self._registry.find_manifest(self._name.tagged(tag))
            if manifest is not None:
                found.setdefault(manifest.digest, set()).add(tag)
        return found

    def _now(self) -> float:
        """Return the time of the registry's last answer, by its clock."""
        if self._registry.server_time is None:
            raise UnavailableError("the registry tells no time", where=self._registry.host)
        return self._registry.server_time


def is_ours(tag: str, own: set[str | None]) -> bool:
    """Tell whether casflow gave a tag, for a registration or for itself."""
    return tag in own or tag.startswith((BY_INPUTS, CONDEMNED))
