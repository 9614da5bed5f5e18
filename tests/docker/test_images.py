"""Retention of images in a real registry: manifests and tags go, nothing that is needed does."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

import pytest

from casflow import config, register
from casflow.cli import main
from casflow.errors import ConfigError
from casflow.gc import Limits, Policy
from casflow.gc.images import ImageVersion, collect_images
from casflow.gc.limits import DAY
from casflow.registry import Registry as Runs
from casflow.storage import Docker, load
from casflow.storage.docker.markers import marker
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.registry import Registry
from tests.docker.flows import make, result
from tests.docker.images import put_base
from tests.services import oci
from tests.services.images import busybox_root
from tests.services.presence import require

pytestmark = pytest.mark.service

LAST = Policy(last=1)


class Later(Registry):
    """A registry whose clock can be put forward."""

    ahead = 0.0

    @property
    def server_time(self):
        return None if self._told is None else self._told + self.ahead

    @server_time.setter
    def server_time(self, result):
        self._told = result


class Undeletable(oci.Registry):
    """A registry that does not let manifests be deleted, as they are set up by default."""

    def _settings(self):
        settings = super()._settings()
        return {**settings, "storage": {**settings["storage"], "delete": {"enabled": False}}}


class Repository:
    """A repository of a test's own, and the versions of one flow that were registered to it."""

    def __init__(self, host, root):
        self.host, self.folder = host, uuid.uuid4().hex
        self.base = put_base(host, "base/busybox", root)
        self.registry = Later(host)
        self.placed = []

    def register(self, value, flow="Docker Flow", **options):
        """Register a version; return its image."""
        given = {"registry_url": f"{self.host}/{self.folder}", "base_image": self.base}
        given |= {"builder": "registry", "base_url": "unix:///nowhere.sock", "image_name": "flow"}
        done = register(make(Docker(**{**given, **options}), flow, value))
        with Runs(config.load().registry) as runs:
            version = runs.get_version("default", flow)
        image = ImageName.parse(done.location)
        self.placed = [
            each._replace(kept=each.flow[1] != flow and each.kept) for each in self.placed
        ]
        of = ("default", flow)
        own = load(version.storage).references[flow].extra["own_tag"]
        added = ImageVersion(of, version.number, version.created, (), image, own, kept=True)
        self.placed.append(added)
        return image

    def collect(self, *, after=0.0, versions=None, **options):
        self.registry.ahead += after
        placed = self.placed if versions is None else versions
        limits = options.pop("limits", Limits())
        return collect_images(self.registry, placed, LAST, limits, **options)

    def tags(self):
        return set(self.registry.tags(self.placed[0].image))

    def has(self, image):
        return self.registry.find_manifest(replace(image, tag=None)) is not None


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    require("busybox image", "busybox", install="busybox-static")
    return busybox_root(tmp_path_factory.mktemp("busybox")).read_bytes()


@pytest.fixture
def repository(home, oci_registry, root):
    return Repository(oci_registry.host, root)


def test_an_expired_image_is_condemned_waits_and_goes_with_its_tags(repository):
    old, new = repository.register(1), repository.register(2)
    first = repository.collect()
    assert (first.images, first.condemned, first.waiting) == (2, [str(old)], [str(old)])
    assert repository.collect(after=DAY / 2).waiting == [str(old)]
    assert repository.has(old)
    assert repository.collect(after=DAY / 2 + 60).deleted == [str(old)]
    assert not repository.has(old)
    assert repository.has(new)
    assert {tag for tag in repository.tags() if tag[:2] == "20"} == {new.tag}
    assert not any(tag.startswith("condemned-") for tag in repository.tags())
    assert repository.collect().deleted == []


@pytest.mark.parametrize(("name", "code"), [("number", 0), ("nmber", 2)])
def test_a_job_knows_the_parameters_of_a_flow_in_an_image(repository, capsys, name, code):
    repository.register(1)
    with pytest.raises(SystemExit) as ended:
        main(["k8s", "job", "Docker Flow", "-P", f"{name}=1"])
    assert ended.value.code == code, capsys.readouterr().err


def test_a_condemned_image_gets_no_further_name(repository):
    old, _ = repository.register(1), repository.register(2)
    repository.collect()
    again = repository.register(1)
    assert again.digest != old.digest
    repository.collect(after=2 * DAY)
    assert not repository.has(old)
    flow = make(name="Docker Flow")
    with Runs(config.load().registry) as runs:
        storage = load(runs.get_version("default", "Docker Flow").storage)
    storage.engine.base_url = "unix:///nowhere.sock"
    assert result(storage.get_flow(flow.name)) == 3


def test_a_name_that_a_writer_gave_just_before_the_marker_keeps_the_image(repository):
    old, _ = repository.register(1), repository.register(2)
    manifest = repository.registry.get_manifest(old)
    repository.collect()
    other = old.tagged("2026-01-01t00-00-00-000000-00-00")
    repository.registry.put_manifest(other, manifest)
    assert repository.collect(after=2 * DAY).deleted == []
    assert repository.has(old)


def test_a_tag_that_a_person_chose_keeps_the_image(repository):
    old, _ = repository.register(1), repository.register(2)
    repository.registry.put_manifest(old.tagged("v1"), repository.registry.get_manifest(old))
    named = repository.register(3, image_tag="stable")
    repository.register(4)
    report = repository.collect(limits=Limits(grace=0, exclusive=True))
    assert len(report.deleted) == 1
    assert repository.has(old)
    assert repository.has(named)


def test_an_image_goes_only_when_all_that_stand_in_it_have_expired(repository):
    old, _ = repository.register(1), repository.register(2)
    other = ImageVersion(
        ("other", "Docker Flow"), 1, repository.placed[0].created, (), old, old.tag, kept=True
    )
    now = Limits(grace=0, exclusive=True)
    assert repository.collect(versions=[*repository.placed, other], limits=now).deleted == []
    assert repository.collect(limits=now).deleted == [str(old)]


def test_a_marker_without_a_date_counts_from_the_run_that_finds_it(repository):
    old, _ = repository.register(1), repository.register(2)
    tag = marker(str(old.digest))
    repository.registry.put_manifest(old.tagged(tag), repository.registry.get_manifest(old))
    assert repository.collect(after=40 * DAY).deleted == []
    assert repository.collect(after=2 * DAY).deleted == [str(old)]


def test_a_dry_run_changes_no_tag_and_says_what_the_next_run_does(repository):
    repository.register(1), repository.register(2)
    for after in (0, 2 * DAY):
        before = repository.tags()
        planned = repository.collect(after=after, dry_run=True)
        assert repository.tags() == before
        done = repository.collect()
        assert {**planned.to_dict(), "dry_run": False} == done.to_dict()


def test_a_registry_that_deletes_nothing_says_so(home, root):
    require("OCI registry", "docker-registry", install="docker-registry")
    with Undeletable() as server:
        repository = Repository(server.host, root)
        old, _ = repository.register(1), repository.register(2)
        with pytest.raises(ConfigError, match=r"does not offer this.*can be deleted"):
            repository.collect(limits=Limits(grace=0, exclusive=True))
        assert repository.has(old)


def test_gc_collects_the_images_of_the_registry(repository, capsys):
    old, new = repository.register(1), repository.register(2)

    def gc(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["gc", *arguments])
        assert ended.value.code == 0
        return capsys.readouterr().out

    now = ("--keep-last", "1", "--exclusive")
    assert json.loads(gc("--json"))["images"] == []
    (planned,) = json.loads(gc(*now, "--json"))["images"]
    assert (planned["dry_run"], planned["deleted"]) == (True, [str(old)])
    assert "would be deleted: 1 image; their layers go when the registry's own" in gc(*now)
    assert repository.has(old)
    (done,) = json.loads(gc(*now, "--yes", "--json"))["images"]
    assert (done["dry_run"], done["deleted"]) == (False, [str(old)])
    assert not repository.has(old)
    assert repository.has(new)
