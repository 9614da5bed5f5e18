"""Flows in an engine: retention removes casflow's own images from it.

Owns the plan and the run for one engine. Invariant: an image goes only when it has casflow's label
and no name but casflow's own; names are taken away one by one, and an engine keeps what a
container uses, so a name that somebody gives meanwhile keeps the image. What is in the engine
alone was condemned a grace ago; what is built right now is younger than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from casflow.gc.images import ImageReport, expired_images, is_ours
from casflow.storage.docker.engine_build import ENVIRONMENTS, environment_name
from casflow.storage.docker.markers import CONDEMNED, condemned_at, condemned_at_tag
from casflow.storage.docker.plan import FLOWS
from casflow.storage.docker.recipe import PYTHON_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from casflow.gc.images import ImageVersion
    from casflow.gc.limits import Limits
    from casflow.gc.retention import Policy
    from casflow.storage.docker.engine import Engine, ListedImage
    from casflow.storage.docker.names import ImageName

_ADDED = ("docker.io/library/", "docker.io/", "localhost/")  # what an engine puts before a name
_SHORT = 12  # digits of an id, as people know them


def collect_engine(
    engine: Engine,
    repositories: Iterable[list[ImageVersion]],
    policy: Policy,
    limits: Limits,
    *,
    dry_run: bool = False,
) -> list[ImageReport]:
    """Collect casflow's images in an engine.

    Args:
        engine: The engine.
        repositories: All versions that stand in images, by repository.
        policy: What retention keeps; nothing expires without a rule.
        limits: How long to wait.
        dry_run: Only say what would be done.

    Returns:
        What was done, by repository; environments and failed builds come last.

    Raises:
        CasflowError: The engine does not answer, or failed.
    """
    run = _EngineRun(engine, policy, limits, dry_run=dry_run)
    reports = [run.collect(versions) for versions in repositories]
    return [each for each in (*reports, run.collect_environments()) if each.images]


class _EngineRun:
    """One run over an engine; the images that it has are read once."""

    def __init__(self, engine: Engine, policy: Policy, limits: Limits, *, dry_run: bool) -> None:
        self._engine = engine
        self._policy = policy
        self._limits = limits
        self._dry_run = dry_run
        self._now = engine.now()
        labels = (FLOWS, PYTHON_LABEL)
        self._images = {image.id: image for each in labels for image in engine.labelled(each)}
        self._by_name = {
            _plain(name): image.id
            for image in self._images.values()
            for name in (*image.tags, *image.digests)
        }
        self._environments: set[str] = set()  # what kept versions use

    def collect(self, versions: list[ImageVersion]) -> ImageReport:
        """Collect the images of one repository."""
        report = self._report(versions[0].image.untagged)
        gone = expired_images(versions, self._policy, self._key)
        kept = {self._key(each): each for each in versions if self._key(each) not in gone}
        self._environments |= {each.environment for each in versions if self._key(each) in kept}
        for key, version in kept.items():
            if key in self._images:
                report.images += 1
                self._absolve(self._images[key], version.image)
        for key, expired in gone.items():
            if key in self._images:
                report.images += 1
                self._delete_or_wait(self._images[key], expired, report)
        return report

    def collect_environments(self) -> ImageReport:
        """Collect environments that no kept version uses, and what failed builds left."""
        report = self._report(ENVIRONMENTS)
        used = {str(environment_name(each)) for each in self._environments if each}
        for image in self._images.values():
            names = [each for each in image.tags if _plain(each).startswith(f"{ENVIRONMENTS}:")]
            is_nameless = not (image.tags or image.digests)
            report.images += bool(names or is_nameless)
            if (names or is_nameless) and not used.intersection(map(_plain, names)):
                shown = _plain(names[0]) if names else image.id.removeprefix("sha256:")[:_SHORT]
                if self._now - image.created < self._limits.grace:
                    report.waiting.append(shown)
                else:
                    self._remove(image, names or [image.id], shown, report)
        return report

    def _delete_or_wait(
        self, image: ListedImage, versions: list[ImageVersion], report: ImageReport
    ) -> None:
        name = versions[0].image
        if not self._is_only_ours(image, versions):
            return  # somebody else calls it something
        if name.digest is None and self._limits.grace:
            tags = [each.rpartition(":")[2] for each in image.tags]
            condemned: float | None = condemned_at(tags, image.id)
            if condemned is None:
                condemned = self._now
                report.condemned.append(str(name))
                if not self._dry_run:
                    tag = condemned_at_tag(image.id, self._now)
                    self._engine.tag(image.id, name.tagged(tag))
            if self._now - condemned < self._limits.grace:
                report.waiting.append(str(name))
                return
        own = {each.own_tag for each in versions}
        tags_last = sorted(image.tags, key=lambda each: each.rpartition(":")[2] in own)
        self._remove(image, [*tags_last, *image.digests], str(name), report)

    def _is_only_ours(self, image: ListedImage, versions: list[ImageVersion]) -> bool:
        repository = _plain(versions[0].image.untagged)
        own: set[str | None] = {each.own_tag for each in versions}
        tags = [_plain(each).rpartition(":") for each in image.tags]
        return all(where == repository and is_ours(tag, own) for where, _, tag in tags) and all(
            _plain(each).partition("@")[0] == repository for each in image.digests
        )

    def _absolve(self, image: ListedImage, name: ImageName) -> None:
        """Take the marks off an image that is needed again."""
        for each in image.tags:
            if each.rpartition(":")[2].startswith(CONDEMNED) and not self._dry_run:
                self._engine.remove_image(str(name.tagged(each.rpartition(":")[2])))

    def _remove(
        self, image: ListedImage, names: list[str], shown: str, report: ImageReport
    ) -> None:
        if not self._dry_run:
            for name in names:
                self._engine.remove_image(name)
            if self._engine.find_image(image.id) is not None:
                report.waiting.append(shown)  # a container uses it, or another image begins there
                return
        report.deleted.append(shown)

    def _key(self, version: ImageVersion) -> str:
        """Return the id of a version's image, or its name when the engine does not have it."""
        name = version.image
        for each in (str(name.tagged(version.own_tag)), name.pinned):
            if _plain(each) in self._by_name:
                return self._by_name[_plain(each)]
        return str(name)

    def _report(self, repository: str) -> ImageReport:
        return ImageReport(repository, self._dry_run, place="engine")


def _plain(name: str) -> str:
    """Return a name of an image without the host that an engine adds to one that has none."""
    found = next((each for each in _ADDED if name.startswith(each)), "")
    return name.removeprefix(found)
