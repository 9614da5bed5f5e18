"""What dockerd and podman must both do, with an image whose Python does nothing but succeed."""

from __future__ import annotations

import base64
import json
import uuid

import pytest

from casflow import config, register
from casflow.cli import main
from casflow.errors import ConfigError, NotFoundError
from casflow.registry import Registry as Runs
from casflow.storage import Docker, load
from casflow.storage.docker.engine_build import environment_name
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.recipe import PYTHON_LABEL
from casflow.storage.docker.registry import Registry
from tests.docker.flows import SCRIPT, make, result
from tests.services.images import busybox_root
from tests.services.oci import Registry as RegistryServer
from tests.services.presence import require
from tests.services.tls_registry import PASSWORD, USER

pytestmark = [
    pytest.mark.service,
    pytest.mark.xdist_group("docker"),
    pytest.mark.timeout(600),
]

PYTHON = "#!/bin/sh\nexit 0\n"


@pytest.fixture(scope="session", params=["docker", "podman"])
def engine(request, oci_registry, tmp_path_factory):
    """An engine that has the image `small:1`; both take it from the registry, too."""
    require("busybox image", "busybox", install="busybox-static")
    found = request.getfixturevalue(f"{request.param}_engine")
    root = busybox_root(tmp_path_factory.mktemp("root"), {"bin/python": PYTHON})
    name = f"{oci_registry.host}/base/small:{request.param}"
    found.load_root(root, name)
    found.docker("push", name)
    found.small = name
    return found


@pytest.fixture
def storage(engine, oci_registry):
    """Make a storage in a folder of this test's own."""
    folder = uuid.uuid4().hex

    def make_storage(**options):
        given = {
            "registry_url": f"{oci_registry.host}/{folder}",
            "image_name": "flow",
            "base_url": engine.url,
            "base_image": engine.small,
        }
        return Docker(**{**given, **options})

    return make_storage


def read(done, flow="Docker Flow"):
    """Return the result of the latest version, read without an engine."""
    with Runs(config.load().registry) as runs:
        storage = load(runs.get_version("default", flow).storage)
    storage.engine.base_url = "unix:///nowhere.sock"
    return result(storage.get_flow(flow))


def test_a_flow_is_registered_read_and_changed_by_one_layer(
    home, storage, engine, oci_registry, proxy_to
):
    done = register(make(storage()))
    assert read(done) == 42
    # Of this flow alone: tests beside this one build on the same engine.
    name = ImageName.parse(done.location)
    mine = ("images", "-q", "--filter", f"reference={name.host}/{name.repository}")
    before = engine.docker(*mine).stdout.split()
    proxy = proxy_to(oci_registry.url, dialect="plain")
    url = storage().registry_url.replace(oci_registry.host, proxy.host)
    nowhere = {"registry_url": url, "base_url": "unix:///nowhere.sock"}
    changed = register(make(storage(**nowhere), value=50))
    assert changed.is_new
    last = max(each.number for each in proxy.requests if each.method == "PUT")
    assert last + 1 <= 10  # the base image is asked for past the proxy
    assert read(changed) == 52
    assert engine.docker(*mine).stdout.split() == before


@pytest.mark.parametrize("builder", ["engine", "registry"])
def test_a_flow_whose_image_was_condemned_gets_another_image(home, storage, builder):
    options = {"builder": builder, "ignore_healthchecks": True}
    locations = [register(make(storage(**options), value=value)).location for value in (3, 4, 3)]
    images = [ImageName.parse(each) for each in locations]
    assert images[0].digest == images[2].digest
    with pytest.raises(SystemExit):
        main(["gc", "--keep-last", "1", "--yes", "--json"])
    again = register(make(storage(**options), value=4))
    assert ImageName.parse(again.location).digest != images[1].digest
    with pytest.raises(SystemExit):
        main(["gc", "--keep-last", "1", "--exclusive", "--yes", "--json"])
    there = Registry(images[0].api_host)
    assert there.find_manifest(images[1]) is None
    assert read(again) == 6


def test_without_a_registry_the_image_stays_in_the_engine(home, storage, engine):
    name = f"local/{uuid.uuid4().hex}"
    given = {"registry_url": None, "local_image": True, "image_name": name}
    flow = make(storage(**given))
    done = register(flow)
    labels = json.loads(engine.docker("image", "inspect", done.location).stdout)[0]["Config"]
    assert labels["Labels"]["io.casflow.inputs"]
    there = load(flow.storage.serialize())
    there.engine.base_url = engine.url
    assert result(there.get_flow("Docker Flow")) == 42
    assert engine.docker("ps", "-aq").stdout == ""


def gc(capsys, *options):
    """Run `casflow gc` for the newest version; return its reports on the engine."""
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["gc", "--keep-last", "1", *options, "--json"])
    images = json.loads(capsys.readouterr().out)["images"]
    return {each["repository"]: each for each in images if each["place"] == "engine"}


def names_in(engine):
    shown = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    return {each.removeprefix("docker.io/").removeprefix("localhost/") for each in shown}


def nameless(engine):
    options = ("--filter", "dangling=true", "--filter", f"label={PYTHON_LABEL}")
    return engine.docker("images", "-q", *options).stdout.split()


@pytest.mark.slow
def test_gc_takes_from_the_engine_what_is_ours_and_nobody_needs(
    home, storage, engine, monkeypatch, capsys
):
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    name = f"local/{uuid.uuid4().hex}"
    alone = {"registry_url": None, "local_image": True, "image_name": name}
    versions = [(3, "a"), (4, "b"), (5, "c"), (6, "c")]
    done, environments = [], []
    for value, letter in versions:
        flow = make(storage(**alone, env_vars={"V": letter}), value=value)
        done.append(register(flow).location)
        environments.append(flow.storage.environment)
    # Steps that no other test has taken: a step that an image begins with is nobody's left-over.
    # What other tests left in this engine may be in use there.
    others = set(nameless(engine))
    failing = {"env_vars": {"V": name}, "extra_dockerfile_commands": ["RUN false"]}
    with pytest.raises(ConfigError):
        register(make(storage(**alone, **failing), "Bad"))
    engine.docker("tag", done[1], "kept/by-a-person:1")
    mine = set(nameless(engine)) - others
    assert mine
    before = names_in(engine)
    planned = gc(capsys, "--exclusive", "--dry-run", "--yes")
    assert names_in(engine) == before
    reports = gc(capsys, "--exclusive", "--yes")
    assert set(planned[name]["deleted"]) == set(reports[name]["deleted"]) == {done[0], done[2]}
    left = names_in(engine)
    assert not {done[0], done[2]} & left
    assert {done[1], done[3], "kept/by-a-person:1"} <= left
    made = [str(environment_name(each)) for each in environments]
    assert not {made[0], made[1]} & left
    assert made[3] in left
    assert not mine & set(nameless(engine))
    assert engine.docker("image", "inspect", engine.small).returncode == 0
    assert read_here(engine, done[3]) == 8


def test_an_image_in_the_engine_alone_waits_until_its_grace_is_over_or_it_is_needed_again(
    home, storage, engine, monkeypatch, capsys
):
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    name = f"local/{uuid.uuid4().hex}"
    alone = {"registry_url": None, "local_image": True, "image_name": name}
    done = [register(make(storage(**alone), value=each)).location for each in (3, 4)]
    for _ in range(2):
        assert gc(capsys, "--yes")[name]["waiting"] == [done[0]]
    assert any(":condemned-" in each for each in names_in(engine) if each.startswith(name))
    again = register(make(storage(**alone), value=3)).location
    assert gc(capsys, "--yes")[name]["waiting"] == [done[1]]
    assert read_here(engine, again) == 5
    image = engine.docker("image", "inspect", again, "--format", "{{.RepoTags}}").stdout
    assert "condemned-" not in image


def read_here(engine, location):
    """Return the result of the latest version, read from the engine."""
    with Runs(config.load().registry) as runs:
        version = runs.get_version("default", "Docker Flow")
    assert version.location == location
    there = load(version.storage)
    there.engine.base_url = engine.url
    return result(there.get_flow("Docker Flow"))


def test_trees_arrive_as_they_are_and_nothing_else(home, storage, engine, tmp_path, monkeypatch):
    work = tmp_path / "work"
    (work / "tree" / "empty").mkdir(parents=True)
    (work / "tree" / "run $x 'y'").write_text("x")
    (work / "tree" / "run $x 'y'").chmod(0o750)
    (work / "tree" / "link").symlink_to("empty")
    (work / "secret.env").write_text("sentinel")
    (work / ".dockerignore").write_text("*.env\n")
    (work / "Start").write_text(f"FROM {engine.small}\nCOPY . /all/\nUSER 65534\n")
    monkeypatch.chdir(work)
    files = {str(work / "tree"): "/tree $HOME", str(work / "tree" / "run $x 'y'"): "/one/"}
    options = {"dockerfile": "Start", "base_image": None, "files": files}
    done = register(make(storage(**options)))
    name = ImageName.parse(done.location).pinned
    engine.docker("pull", name)
    command = "ls -lR /all/tree '/tree $HOME' /one; ls -A /all"
    shown = engine.docker("run", "--rm", "--network=none", name, "sh", "-c", command).stdout
    assert shown.count("link -> empty") == 2
    assert shown.count("-rwxr-x---") == 3
    assert ".casflow" not in shown
    assert "secret.env" not in shown
    config = json.loads(engine.docker("image", "inspect", name).stdout)[0]["Config"]
    assert config["User"] == "65534"


def test_both_builders_put_the_same_tree_into_an_image(home, storage, engine, tmp_path):
    (tmp_path / "tree" / "empty").mkdir(parents=True)
    (tmp_path / "tree" / "run").write_text("x")
    (tmp_path / "tree" / "run").chmod(0o750)
    (tmp_path / "tree" / "link").symlink_to("empty")
    options = {"files": {str(tmp_path / "tree"): "/tree"}, "ignore_healthchecks": True}
    shown = set()
    for builder in ("engine", "registry"):
        done = register(make(storage(builder=builder, **options)))
        name = ImageName.parse(done.location).pinned
        engine.docker("pull", name)
        command = (
            "run",
            "--rm",
            "--network=none",
            name,
            "sh",
            "-c",
            "ls -l /tree | cut -c1-10,50-",
        )
        shown.add(engine.docker(*command).stdout)
    assert len(shown) == 1
    assert "link -> empty" in shown.pop()


def test_an_instruction_that_only_buildkit_knows_is_named(
    home, storage, docker_engine, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    options = {"dockerfile": "Start", "base_image": None, "local_image": True}
    options["base_url"] = docker_engine.url
    (tmp_path / "Start").write_text("FROM scratch\nRUN --mount=type=cache,target=/x true\n")
    with pytest.raises(ConfigError, match="only BuildKit knows 'RUN --mount"):
        register(make(storage(**options)))


@pytest.mark.parametrize(
    "start", ["ARG V=moved\nFROM {0}/base/$V:1", "FROM {1}\nCOPY --from={0}/base/moved:1 /m /m"]
)
def test_a_base_image_that_moved_is_built_on_anew(
    home, storage, engine, oci_registry, tmp_path, monkeypatch, start
):
    monkeypatch.chdir(tmp_path)
    moved = f"{oci_registry.host}/base/moved:1"
    (tmp_path / "Start").write_text(start.format(oci_registry.host, engine.small) + "\n")
    environments = []
    for text in "ab":
        root = busybox_root(tmp_path, {"bin/python": PYTHON, "m": text})
        engine.docker("import", str(root), moved)
        engine.docker("push", moved)
        engine.docker("rmi", moved)
        flow = make(storage(dockerfile="Start", base_image=None, dockerignore=_ignore(tmp_path)))
        done = register(flow)
        environments.append(flow.storage.environment)
    name = ImageName.parse(done.location).pinned
    engine.docker("pull", name)
    assert engine.docker("run", "--rm", "--network=none", name, "cat", "/m").stdout == "b"
    assert len(set(environments)) == 2


def _ignore(folder):
    path = folder / "ignore"
    path.write_text("*\n")
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--memory", "lots"), "memory"),
        (("--network", "nowhere"), "no such network: nowhere"),
        (("--volume", "/tmp:relative"), "cannot do it"),
    ],
)
def test_options_that_the_engine_does_not_take_end_the_agent_at_its_start(
    home, engine, options, message
):
    network = () if "--network" in options else ("--network", "none")
    command = ("agent", "start", "docker", "--engine", engine.url, *network, *options)
    with home.start(*command) as process:
        try:
            error = process.communicate(timeout=30)[1]
        finally:
            process.kill()
    assert process.returncode == 2, error
    assert message in error


def test_a_run_whose_image_cannot_be_pulled_waits_or_fails_by_whose_fault_it_is(
    home, storage, engine, monkeypatch
):
    monkeypatch.setattr("casflow.http.retry.sleep", lambda *_: False)
    command = ("agent", "start", "docker", "--engine", engine.url, "--network", "none")
    with RegistryServer() as server:
        options = {"builder": "registry", "ignore_healthchecks": True}
        done = register(make(storage(registry_url=server.host, **options)))
        home.casflow("runs", "create", "Docker Flow")
        image = ImageName.parse(done.location)
        server.stop()
        with home.start(*command) as process:
            said = read_until(process, "waits again")
            process.kill()
        shown = home.json("runs", "show", "1")
        assert (shown["state"], shown["message"]) != ("Failed", None), said
        assert shown["state"] == "Scheduled"
        assert server.host in shown["message"]
        server.start()
        Registry(server.host).delete_manifest(image)
        with home.start(*command, "--once") as process:
            said = process.communicate(timeout=60)[1]
    shown = home.json("runs", "show", "1")
    assert shown["state"] == "Failed", said
    assert "the registry does not have it" in shown["message"]


def read_until(process, text):
    """Return what a process said up to the line that has a text."""
    said = ""
    for line in process.stderr:
        said += line
        if text in line:
            break
    return said


def test_an_image_goes_through_tls_and_a_token_service(
    home, storage, engine, token_registry, monkeypatch, tmp_path
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    token_registry.trust_in(tmp_path)
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    settings = {"auths": {token_registry.host: {"auth": auth}}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    url = f"https://{token_registry.host}/{uuid.uuid4().hex}"
    done = register(make(storage(registry_url=url)))
    assert read(done) == 42
    changed = register(make(storage(registry_url=url), value=50))
    assert read(changed) == 52


def test_a_script_that_only_the_image_has_is_read_from_there(
    home, storage, engine, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Start").write_text(f"FROM {engine.small}\nCOPY code.py /opt/flows/f.py\n")
    options = {"dockerfile": "Start", "base_image": None, "stored_as_script": True}
    digests = []
    for number in (40, 50):
        (tmp_path / "code.py").write_text(SCRIPT.replace("40", str(number)))
        flow = make(storage(path="/opt/flows/f.py", **options), "Scripted")
        done = register(flow)
        assert read(done, "Scripted") == number + 2
        digests.append(done.digest)
    assert len(set(digests)) == 2
    with pytest.raises(NotFoundError, match=r"no such script in the image: /opt/flows/g\.py"):
        register(make(storage(path="/opt/flows/g.py", **options), "Scripted"))


def test_an_agent_without_an_engine_says_so_at_its_start(home):
    command = ("agent", "start", "docker", "--once", "--engine", "unix:///nowhere.sock")
    assert "cannot reach the Docker engine" in home.casflow(*command, code=7)[1]
