"""Whoever can write anything to the store lets no name mean what nobody signed."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from casflow.signing import openssh, verifier
from casflow.signing.statement import Statement
from casflow.signing.verifier import Verifier
from tests.examples import examples
from tests.signing.attack import HONEST, Attack, BrokenError

EXAMPLES = int(os.environ.get("ATTACK_EXAMPLES") or examples(50, few=8))
CAUGHT_WITHIN = 100


@pytest.fixture(autouse=True)
def under_policy(monkeypatch, trusting, policy):
    trusting(*HONEST)
    policy("prod/*")
    monkeypatch.setattr(openssh, "program", lambda: None)  # a process for each would take long


def run(seed, tmp_path_factory, monkeypatch, keys, **options):
    folder = tmp_path_factory.mktemp("attack")
    monkeypatch.setenv("CASFLOW_HOME", str(folder))
    attack = Attack(seed, folder, keys)
    attack.run(**options)
    return attack


@pytest.fixture
def attack(tmp_path_factory, monkeypatch, keys, home):
    monkeypatch.setenv("CASFLOW_ALLOWED_SIGNERS", str(home / "allowed_signers"))
    return lambda seed: run(seed, tmp_path_factory, monkeypatch, keys)


@pytest.mark.timeout(7200)
def test_no_name_means_what_nobody_signed_and_no_tag_goes_back(attack):
    seen = signed = 0
    for seed in range(EXAMPLES):
        try:
            done = attack(seed)
        except BrokenError as error:
            pytest.fail(f"seed {seed}: {error}")
        seen += len(done.last)
        signed += any(done.signed.values())
    assert seen > EXAMPLES // 4  # tags were seen at all, between attacks
    assert signed > EXAMPLES // 2


class CountsNothing(Verifier):
    """Takes any move of a tag that is signed, also one from before."""

    def check_move(self, store, name, reference, move, texts):
        super().check_move(f"{store} {move.counter}", name, reference, move, texts)


def trust_everybody(signed, trust):
    del trust
    return str(signed.signature.key)


def trust_any_bytes(signed, trust):
    """Ask whose key it is, not whether the signature is right."""
    return verifier.find_signer(
        signed.signature, signed.statement.moment, trust.allowed, trust.revoked
    )


class OneForAll(Statement):
    """Leaves out of a statement what a run starts in."""

    @classmethod
    def of(cls, reference, move=None):
        return replace(Statement.of(reference, move), entry="")


class OneName(Verifier):
    """Does not look at the name that was signed."""

    def _check_version(self, name, reference, texts, trust, remedy):
        found = verifier.readable_signatures(texts())
        found = [each for each in found if each.statement.digest == reference.digest]
        self._count(found, trust, name, hint=remedy)
        return False


class TagsAsVersions(Verifier):
    """Lets a tag mean any signed version, whoever moved it."""

    def check_move(self, store, name, reference, move, texts):
        del store, move
        self.check(name, reference, texts)


VARIANTS = {
    "no counter": ("casflow.signing.Verifier", CountsNothing),
    "any key": ("casflow.signing.verifier.signer_of", trust_everybody),
    "any signature": ("casflow.signing.verifier.signer_of", trust_any_bytes),
    "any start": ("casflow.signing.verifier.Statement", OneForAll),
    "any name": ("casflow.signing.Verifier", OneName),
    "moves not signed": ("casflow.signing.Verifier", TagsAsVersions),
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_broken_variant_is_caught(variant, attack, monkeypatch):
    monkeypatch.setattr(*VARIANTS[variant])
    for seed in range(CAUGHT_WITHIN):
        try:
            attack(seed)
        except BrokenError:
            return
    pytest.fail("no attack finds the hole")
