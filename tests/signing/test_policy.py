"""Names under a policy: what passes, what does not, why, and at what price."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

import casflow
from casflow import Flow, aio, signing, task
from casflow.blobs import layout
from casflow.cache import Cache
from casflow.digests import digest_of
from casflow.errors import AccessError, SignatureError
from casflow.registration import register
from casflow.registry import Registry
from casflow.signing.engines import SigningKey
from casflow.signing.objects import MOST
from casflow.signing.statement import Move, Signed, Statement
from casflow.storage import Local, load
from casflow.store import finish_leases
from casflow.trees.versions import Versions

WEEK = timedelta(days=7)


def refusal(act, *arguments, **options):
    """Return the reason and the line of a refusal, which is one line that says what to do."""
    with pytest.raises(SignatureError) as caught:
        act(*arguments, **options)
    error, line = caught.value, str(caught.value)
    assert isinstance(error, AccessError)
    assert error.exit_code == 6
    assert "\n" not in line
    assert error.hint, line
    return error.reason, line


def sign_as(store, version, key, **changes):
    """Sign what another statement than the right one says, and write it beside the version."""
    reference = version.reference
    statement = replace(Statement.of(reference).now(), **changes)
    signed = SigningKey(str(key)).signed(statement)
    signing.write_signature(store._content.store, reference.blob, signed)
    return signed


@pytest.fixture
def signed(store, project, keys, trusting, policy):
    """A name with two versions that anna signed, a tag on the second, and the policy on."""
    trusting("anna", "bob")
    store.push(project("one"), "etl", sign=str(keys["anna"]))
    store.tag("etl", "prod", sign=str(keys["anna"]))
    store.push(project("two"), "etl", sign=str(keys["anna"]))
    store.tag("etl", "prod", sign=str(keys["anna"]))
    policy("etl")
    return store


def test_what_a_trusted_key_signed_is_used_by_every_way_in(signed, tmp_path):
    digest = signed.resolve("etl@1").digest
    for ref in ("etl", "etl@1", "etl@prod", f"etl@{digest}", digest, digest[7:19]):
        assert signed.resolve(ref).name == "etl"
        assert (signed.checkout(ref) / "main.py").read_text() in ("one", "two")
    assert signed.resolve("etl").tags == ("prod",)
    assert signed.tags("etl")["prod"].version == 2
    assert [str(each) for each in signed.signers("etl@prod")] == ["anna@example.com"]
    signed.checkout("etl", tmp_path / "copy")
    assert aio.Store(signed).sync.read_file("etl@prod", "main.py") == b"two"


def test_what_nobody_signed_is_refused_by_every_way_in(store, project, policy, tmp_path):
    version = store.push(project(), "etl")
    store.tag("etl", "prod")
    standing = store.checkout(version)
    other = casflow.Store(tmp_path / "other")
    policy("etl")
    acts = [
        (store.resolve, "etl"),
        (store.resolve, "etl@1"),
        (store.resolve, "etl@prod"),
        (store.resolve, version.digest),
        (store.checkout, version.digest),
        (store.checkout, f"etl@{version.digest}"),
        (store.checkout, version),
        (store.checkout, store.versions("etl")[0]),
        (store.checkout, "etl", tmp_path / "copy"),
        (store.listing, version),
        (store.listing, version.digest),
        (store.read_file, version, "main.py"),
        (store.open_file, "etl@prod", "main.py"),
        (store.tags, "etl"),
        (store.tag, "etl@1", "next"),
        (store.pin, "etl"),
        (store.lease, "etl"),
        (store.copy, "etl", other),
    ]
    for act, *arguments in acts:
        reason, line = refusal(act, *arguments)
        assert (reason, "it is not signed" in line) == ("unsigned", True), line
    assert standing.exists()
    assert store.versions("etl")[0].tags == ()  # a tag that may not be used is not shown as one
    assert not (tmp_path / "copy").exists()


def test_integrations_obey(store, project, keys, trusting, policy):
    from casflow.integrations.dask_tree import CasflowPlugin
    from casflow.integrations.fsspec import CasflowFileSystem

    def read():
        files = CasflowFileSystem(store=store.url, skip_instance_cache=True)
        return files.cat_file("etl@prod/main.py")

    trusting("anna")
    store.push(project(), "etl")
    store.tag("etl", "prod")
    policy("*@prod")
    for act in (read, lambda: CasflowPlugin("etl@prod", store.url)):
        assert refusal(act)[0] == "unsigned"
    store.tag("etl@1", "prod", sign=str(keys["anna"]))
    assert read() == b"one"
    assert CasflowPlugin("etl@prod", store.url).digest == store.resolve("etl@1").digest


def test_too_many_signatures_are_not_looked_at(signed):
    blobs, version = signed._content.store, signed.versions("etl")[0]
    for number in range(MOST):
        key = layout.signature(version.digest, 0, digest_of(bytes([number % 256, number // 256])))
        blobs.create(key, b"junk")
    with pytest.raises(AccessError, match="more than 256 signatures"):
        signed.resolve("etl@2")


def test_a_policy_for_tags_alone(store, project, keys, trusting, policy):
    trusting("anna")
    store.push(project(), "etl")
    store.tag("etl", "test")
    store.tag("etl", "prod")
    policy("*@prod")
    assert refusal(store.resolve, "etl@prod")[0] == "unsigned"
    store.tag("etl@1", "prod", sign=str(keys["anna"]))  # the move that was there
    assert len(store.history("etl", "prod")) == 1
    for ref in ("etl", "etl@1", "etl@test", "etl@prod"):
        assert store.resolve(ref).version == 1


def test_each_reason(store, project, keys, trusting, policy):
    trusting("anna", early='valid-before="20260101Z"', other='namespaces="git"')
    version = store.push(project(), "etl")
    policy("etl")

    def after(key, **changes):
        """Say why what was signed last does not count, as if it were all there is."""
        signed = sign_as(store, version, keys[key], **changes)
        try:
            return refusal(store.resolve, "etl")
        finally:
            blob = version.reference.blob
            for info in list(store._content.store.list(layout.SIGNATURES)):
                if store._content.store.get(info.key) == signed.to_bytes():
                    store._content.store.delete(info.key)
            assert not signing.read_signatures(store._content.store, blob.digest)

    reason, line = after("stranger")
    assert reason == "unknown signer"
    assert f"an unknown key, ED25519 {fingerprint(keys['stranger'])}" in line
    assert "casflow trust add" in line
    reason, line = after("early")
    assert (reason, "was not valid any more when it signed" in line) == ("expired", True)
    reason, line = after("anna", at=(datetime.now(UTC) + WEEK).isoformat())
    assert (reason, "in the future" in line) == ("expired", True)
    reason, line = after("other")
    assert (reason, "may sign git only" in line) == ("wrong namespace", True)
    trusting("anna", revoked=["anna"])
    reason, line = after("anna")
    assert (reason, f"{fingerprint(keys['anna'])} that signed it is revoked" in line) == (
        "revoked",
        True,
    )
    trusting("anna")
    for changes in ({"name": "other"}, {"size": 1}, {"entry": "evil.py"}, {"media_type": "x"}):
        assert after("anna", **changes)[0] == "unsigned"  # of something else


def fingerprint(key):
    from casflow.signing.keys import parse_line

    return parse_line(key.with_suffix(".pub").read_text()).fingerprint


def test_a_signature_of_other_bytes_is_altered(signed, keys):
    blobs = signed._content.store
    (first, second) = (signed.versions("etl")[1], signed.versions("etl")[0])
    made = SigningKey(str(keys["bob"])).signed(Statement.of(first.reference).now())
    lie = Statement.of(second.reference).now()
    for key in list(blobs.list(layout.signatures(second.digest))):
        blobs.delete(key.key)
    signing.write_signature(
        blobs, second.reference.blob, Signed(lie, made.signature, lie.to_bytes())
    )
    reason, line = refusal(signed.resolve, "etl@2")
    assert (reason, "bob@example.com is not one of what it stands beside" in line) == (
        "altered",
        True,
    )


def test_a_signature_for_git_is_none_for_us(store, project, keys, trusting, policy):
    trusting("anna")
    version = store.push(project(), "etl")
    statement = Statement.of(version.reference).now()
    from casflow.signing.sshsig import parse_signature
    from tests.signing.conftest import ssh_keygen

    message = statement.to_bytes()
    text = ssh_keygen("-q", "-Y", "sign", "-n", "git", "-f", keys["anna"], data=message)
    made = Signed(statement, parse_signature(text.decode()), message)
    signing.write_signature(store._content.store, version.reference.blob, made)
    policy("etl")
    reason, line = refusal(store.resolve, "etl")
    assert (reason, "the namespace 'git'" in line) == ("wrong namespace", True)


def test_a_threshold_counts_people_not_keys(store, project, keys, trusting, policy, home):
    trusting("anna", "bob")
    with (home / "allowed_signers").open("a") as file:
        file.write(f"anna@example.com {keys.public('second')}\n")
    version = store.push(project(), "etl", sign=str(keys["anna"]))
    policy("etl", threshold=2)
    assert refusal(store.resolve, "etl")[0] == "below threshold"
    store.sign("etl", str(keys["second"]))  # the same person
    store.sign("etl", str(keys["anna"]))  # the same key, which is not written twice
    assert len(signing.read_signatures(store._content.store, version.digest)) == 2
    reason, line = refusal(store.resolve, "etl")
    assert (reason, "1 of 2 signatures" in line) == ("below threshold", True)
    sign_as(store, version, keys["stranger"])
    assert "an unknown key" in refusal(store.resolve, "etl")[1]
    assert not store.push(project(), "etl", sign=str(keys["bob"])).is_new
    assert store.resolve("etl").version == 1


# ---- replays -------------------------------------------------------------------------------


def moves_of(store, tag="prod"):
    return [info.key for info in store._content.store.list(layout.tags("etl")) if tag in info.key]


def test_a_tag_whose_last_move_is_taken_away_goes_not_back(signed, keys):
    assert signed.resolve("etl@prod").version == 2
    signed._content.store.delete(moves_of(signed)[-1])
    reason, line = refusal(signed.resolve, "etl@prod")
    assert (reason, "move 1 of a tag of which move 2 was seen" in line) == ("replayed", True)
    elsewhere = casflow.Store(signed.url, cache=Cache(signed.cache.root / "new", 10**9))
    assert refusal(elsewhere.resolve, "etl@prod")[0] == "replayed"  # the cache does not matter
    key = str(keys["anna"])
    assert signed.tag("etl@1", "prod", sign=key).counter == 3  # who signs counts on from there
    assert signed.resolve("etl@prod").version == 1


def test_an_old_move_in_the_place_of_a_new_one_is_a_replay(signed):
    blobs, moves = signed._content.store, moves_of(signed)
    old = blobs.get(moves[0])
    blobs.create(moves[0].replace("00000001", "00000003"), old)
    reason, line = refusal(signed.resolve, "etl@prod")
    assert (reason, "move 3 carries the signature of move 1" in line) == ("replayed", True)


def test_a_tag_on_what_is_called_otherwise_is_altered(signed):
    forged(signed, moves_of(signed)[-1], flow="other")
    reason, line = refusal(signed.resolve, "etl@prod")
    assert (reason, "what is stored is called 'other'" in line) == ("altered", True)


def test_a_move_of_another_tag_or_name_is_none_of_this_one(signed, project, keys):
    blobs = signed._content.store
    signed.tag("etl@1", "test", sign=str(keys["anna"]))
    test = json.loads(blobs.get(moves_of(signed, "test")[0]))
    blobs.put(moves_of(signed)[-1], json.dumps({**test, "tag": "prod"}).encode())
    assert refusal(signed.resolve, "etl@prod")[0] in ("unsigned", "replayed")


def test_what_was_seen_is_kept_when_two_processes_see_it(signed, home):
    signed.resolve("etl@prod")
    (kept,) = (home / "tags").glob("*.json")
    assert json.loads(kept.read_text())["counter"] == 2
    kept.write_text("{}")
    assert refusal(signed.resolve, "etl@prod")[0] == "replayed"


def test_who_moves_a_tag_signs_a_higher_number(signed, keys):
    signed.tag("etl@1", "prod", sign=str(keys["anna"]))
    assert signed.resolve("etl@prod").version == 1
    assert signed.history("etl", "prod")[0].counter == 3


# ---- what is signed is what was looked at --------------------------------------------------


def forged(store, key, **changes):
    form = json.loads(store._content.store.get(key))
    store._content.store.put(key, json.dumps({**form, **changes}).encode())


def test_who_pushes_again_does_not_sign_what_was_put_in_the_place(store, project, keys):
    version = store.push(project(), "etl")
    forged(store, version.key, environment={"script": "evil.py"})
    again = store.push(project(), "etl", sign=str(keys["anna"]))
    assert (again.is_new, again.version) == (True, 2)
    assert store.signers("etl@1") == []


def test_who_tags_again_does_not_sign_what_was_put_in_the_place(store, project, keys):
    version = store.push(project(), "etl")
    store.tag(version, "prod")
    forged(store, moves_of(store)[0], environment={"script": "evil.py"})
    move = store.tag(version, "prod", sign=str(keys["anna"]))
    assert move.counter == 2
    assert [each.counter for each in store.history("etl", "prod") if store.signers(each)] == [2]


def test_no_other_key_of_the_environment_hides_the_script(signed):
    version = signed.versions("etl")[0]
    for environment in ({"script": "evil.py"}, {"script": "evil.py", "module": ""}):
        forged(signed, version.key, environment=environment)
        assert refusal(signed.resolve, "etl@2")[0] == "unsigned"


# ---- flows ---------------------------------------------------------------------------------


def flow(name="etl", value=1):
    @task
    def give():
        return value

    with Flow(name) as made:
        give()
    return made


def test_flows_are_held_to_the_policy_where_they_are_loaded(keys, trusting, policy, home):
    trusting("anna")
    made = flow()
    unsigned = register(made)
    policy("etl")
    with Registry(casflow.config.load().registry) as registry:
        storage = load(registry.get_version(None, "etl", 1).storage)
        for act in (storage.get_flow, storage.load_flow, storage.prefetch, storage.get_bytes):
            assert refusal(act, "etl")[0] == "unsigned"
        assert refusal(storage.load_flow, "etl", digest=unsigned.digest)[0] == "unsigned"
        again = register(made, sign=str(keys["anna"]))
        assert (again.is_new, again.version) == (False, 1)
        assert storage.load_flow("etl").flow.run().is_successful()


def test_the_registry_keeps_what_a_storage_cannot(keys, trusting, policy, tmp_path, monkeypatch):
    trusting("anna")
    script = tmp_path / "ours.py"
    script.write_text(
        "from casflow import Flow, task\n@task\ndef a():\n    return 1\n"
        "with Flow('etl') as flow:\n    a()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    made = flow()
    made.storage = casflow.storage.Module("ours")
    register(made, sign=str(keys["anna"]))
    policy("etl")
    with Registry(casflow.config.load().registry) as registry:
        version = registry.get_version(None, "etl", 1)
        assert len(version.storage["signatures"]["etl"]) == 1
        assert load(version.storage).get_flow("etl").run().is_successful()
        assert not register(made).is_new  # and who registers again loses no signature
        assert registry.get_version(None, "etl", 1).storage["signatures"]["etl"]
    script.write_text(script.read_text().replace("return 1", "return 2"))
    assert refusal(load(version.storage).get_flow, "etl")[0] == "unsigned"


def test_a_registry_that_names_other_bytes_is_refused(keys, trusting, policy):
    trusting("anna")
    register(flow(), sign=str(keys["anna"]))
    evil = flow(value=666)
    storage = Local()
    storage.add_flow(evil)
    storage.build()
    policy("etl")
    form = storage.serialize()
    assert refusal(load(form).get_flow, "etl")[0] == "unsigned"
    with Registry(casflow.config.load().registry) as registry:
        form["signatures"] = registry.get_version(None, "etl", 1).storage.get("signatures", {})
    assert refusal(load(form).get_flow, "etl")[0] == "unsigned"


def test_the_script_of_a_project_is_signed_with_it(keys, trusting, policy, tmp_path):
    trusting("anna")
    code = "from casflow import Flow, task\n@task\ndef a():\n    return 1\n"
    code += "with Flow('etl') as f:\n    a()\n"
    for name in ("main.py", "evil.py"):
        (tmp_path / "project").mkdir(exist_ok=True)
        (tmp_path / "project" / name).write_text(code)
    made = flow()
    made.project = (str(tmp_path / "project"), str(tmp_path / "project" / "main.py"))
    register(made, sign=str(keys["anna"]))
    policy("etl")
    with Registry(casflow.config.load().registry) as registry:
        form = registry.get_version(None, "etl", 1).storage
    assert load(form).get_flow("etl").run().is_successful()
    reference = form["references"]["etl"]
    reference["environment"]["script"] = "evil.py"
    assert refusal(load(form).get_flow, "etl")[0] == "unsigned"


# ---- the price -----------------------------------------------------------------------------


class Counting:
    def __init__(self, store):
        self._store, self.calls = store, 0

    def __getattr__(self, name):
        self.calls += name not in ("url", "parallel")
        return getattr(self._store, name)


def test_what_passed_once_needs_no_request(signed, keys, trusting):
    digest = signed.resolve("etl@2").digest
    refs = (f"etl@{digest}", digest, signed.resolve("etl@prod"))
    for ref in refs:
        signed.checkout(ref)
    finish_leases()
    counting = signed._content.store = Counting(signed._content.store)
    signed._versions = Versions(signed._content, signed._verifier)
    for ref in refs:
        signed.checkout(ref)
        signed.listing(ref)
    assert counting.calls == 0
    trusting("bob")  # the file changed, and what it says is asked again
    for ref in refs:
        assert refusal(signed.checkout, ref)[0] == "unknown signer"
    assert counting.calls


def test_what_passed_under_one_policy_did_not_under_another(store, project, policy):
    first = store.push(project(), "b* b c")
    second = store.push(project(), "b c")
    assert first.digest == second.digest
    policy("a")
    store.checkout(f"b* b c@{first.digest}")  # nobody asks for it
    policy("a", "b*")
    assert refusal(store.checkout, f"b c@{first.digest}")[0] == "unsigned"


def test_a_warm_flow_under_a_policy_needs_no_request(keys, trusting, policy, monkeypatch):
    trusting("anna")
    register(flow(), sign=str(keys["anna"]))
    policy("etl")
    with Registry(casflow.config.load().registry) as registry:
        form = registry.get_version(None, "etl", 1).storage
    load(form).get_flow("etl")
    monkeypatch.setattr(Local, "open_store", lambda _: pytest.fail("a request"))
    load(form).get_flow("etl")
    trusting("anna", revoked=["anna"])
    monkeypatch.undo()


def test_a_statement_is_written_in_one_form():
    statement = Statement("é/x", "blake3:" + "0" * 64, 1, "t", "", {"a": "blake3:" + "1" * 64})
    for each in (statement.now(), replace(statement, move=Move("prod", 3, None)).now()):
        assert Statement.from_bytes(each.to_bytes()) == each
