"""Signatures of ssh-keygen and of the package `cryptography`: each reads the other's."""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64encode
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from casflow.errors import AccessError, IntegrityError, NotFoundError, SignatureError
from casflow.signing import openssh, packaged
from casflow.signing.allowed import find_signer, parse_allowed
from casflow.signing.engines import SigningKey
from casflow.signing.keys import parse_key
from casflow.signing.sshsig import parse_signature
from casflow.signing.statement import Signed, Statement
from tests.signing.conftest import ssh_keygen

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
MESSAGE = VECTORS["statement"].encode()
ALLOWED = parse_allowed(VECTORS["allowed"], where="vectors")
ENGINES = [openssh, packaged]
MOMENT = Statement.from_bytes(MESSAGE).moment
PRINCIPALS = {
    name: f"anna@{name.rpartition(' ')[2]}.example.com"
    if name.startswith("certified")
    else f"{name}@example.com"
    for name in VECTORS["signatures"]
}


def plain_verify(folder, text, message, principal, allowed, namespace="casflow"):
    """Ask plain `ssh-keygen -Y verify`; return whether it is content."""
    (folder / "allowed").write_text(allowed)
    (folder / "signature").write_text(text)
    command = ["ssh-keygen", "-Y", "verify", "-n", namespace, "-I", principal]
    command += ["-f", folder / "allowed", "-s", folder / "signature"]
    command += ["-Overify-time=20261126120000Z"]
    return subprocess.run(command, input=message, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", VECTORS["signatures"])
def test_both_engines_and_plain_ssh_keygen_agree_on_the_vectors(name, engine, tmp_path):
    text = VECTORS["signatures"][name]
    signature = parse_signature(text)
    assert engine.is_right(signature, MESSAGE)
    assert not engine.is_right(signature, MESSAGE.replace(b'"counter": 7', b'"counter": 8'))
    assert find_signer(signature, MOMENT, ALLOWED, frozenset()) == PRINCIPALS[name]
    assert plain_verify(tmp_path, text, MESSAGE, PRINCIPALS[name], VECTORS["allowed"])
    assert plain_verify(
        tmp_path, signature.to_text(), MESSAGE, PRINCIPALS[name], VECTORS["allowed"]
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", VECTORS["signatures"])
def test_no_byte_of_a_signature_can_be_another(name, engine):
    signature = parse_signature(VECTORS["signatures"][name])
    for at in range(20, len(signature.raw), len(signature.raw) // 8):
        raw = bytearray(signature.raw)
        raw[at] ^= 1
        with suppress(IntegrityError):
            assert not engine.is_right(replace(signature, raw=bytes(raw)), MESSAGE), at


@pytest.mark.parametrize("engine", ENGINES)
def test_no_byte_of_a_certificate_can_be_another(engine):
    signature = parse_signature(VECTORS["signatures"]["certified by authority"])
    seen = 0
    for at in range(0, len(signature.key_blob), 11):
        blob = bytearray(signature.key_blob)
        blob[at] ^= 1
        try:
            key = parse_key(bytes(blob))
        except IntegrityError:
            continue
        changed = replace(signature, key=key, key_blob=bytes(blob))
        try:
            signer = find_signer(changed, MOMENT, ALLOWED, frozenset())
        except SignatureError:
            continue
        seen += 1
        assert not (engine.is_right(changed, MESSAGE) and signer), at
    assert seen > 10  # certificates of which only the signature tells


@pytest.mark.parametrize(
    "kind",
    [
        ("ed25519",),
        ("ecdsa", "-b", "256"),
        ("ecdsa", "-b", "384"),
        ("ecdsa", "-b", "521"),
        ("rsa",),
    ],
)
@pytest.mark.parametrize("form", ["RFC4716", "PEM"])
@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_signed_here_verifies_with_plain_ssh_keygen(kind, form, engine, tmp_path):
    path = tmp_path / "key"
    ssh_keygen("-q", "-t", *kind, "-m", form, "-N", "", "-C", "anna", "-f", path)
    public = " ".join((tmp_path / "key.pub").read_text().split()[:2])
    text = engine.sign(MESSAGE, path).to_text()
    assert plain_verify(tmp_path, text, MESSAGE, "anna", f"anna {public}\n")
    assert not plain_verify(tmp_path, text, MESSAGE + b"x", "anna", f"anna {public}\n")
    assert not plain_verify(tmp_path, text, MESSAGE, "anna", f"anna {public}\n", "git")
    for other in ENGINES:
        assert other.is_right(parse_signature(text), MESSAGE)


def test_a_key_that_is_too_weak_is_refused(tmp_path):
    ssh_keygen("-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", tmp_path / "key")
    text = ssh_keygen("-q", "-Y", "sign", "-n", "casflow", "-f", tmp_path / "key", data=MESSAGE)
    with pytest.raises(IntegrityError, match="1024 bits"):
        parse_signature(text.decode())


def test_a_passphrase_is_for_ssh_keygen_and_the_agent(tmp_path):
    ssh_keygen("-q", "-t", "ed25519", "-N", "secret", "-f", tmp_path / "key")
    with pytest.raises(AccessError, match="without a passphrase"):
        packaged.sign(MESSAGE, tmp_path / "key")


def test_the_key_of_an_agent(tmp_path, monkeypatch):
    ssh_keygen("-q", "-t", "ed25519", "-N", "", "-C", "held", "-f", tmp_path / "key")
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            agent.poll()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
        subprocess.run(["ssh-add", "-q", tmp_path / "key"], check=True)
        (tmp_path / "key").unlink()
        public = (tmp_path / "key.pub").read_text()
        for key in (SigningKey.find(), SigningKey.find(f"key::{public.strip()}")):
            signature = key.sign(MESSAGE)
            assert signature.key.to_line() == " ".join(public.split()[:2])
            assert packaged.is_right(signature, MESSAGE)
        assert openssh.is_right(SigningKey.find(str(tmp_path / "key.pub")).sign(MESSAGE), MESSAGE)
    finally:
        agent.terminate()
        agent.wait()


def test_without_ssh_keygen_the_package_signs_and_checks(keys, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    signed = SigningKey.find(str(keys["anna"])).signed(Statement.from_bytes(MESSAGE))
    assert Signed.from_bytes(signed.to_bytes()) == signed
    monkeypatch.undo()
    assert openssh.is_right(signed.signature, signed.message)


def test_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(NotFoundError, match="no key to sign with"):
        SigningKey.find()
    with pytest.raises(NotFoundError, match="no such key to sign with"):
        SigningKey.find(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{key}", None),
        ('namespaces="casflow" {key}', None),
        ('namespaces="git,cas*" {key}', None),
        ('namespaces="git" {key}', "wrong namespace"),
        ('namespaces="*,!casflow" {key}', "wrong namespace"),
        ('valid-after="20260101Z",valid-before="20270101Z" {key}', None),
        ('valid-after="20270101Z" {key}', "expired"),
        ('valid-before="202611261159Z" {key}', "expired"),
        ('VALID-BEFORE="20261126120001Z" {key}', None),
        ("cert-authority {key}", "unknown signer"),
    ],
)
def test_trust_is_what_plain_ssh_keygen_trusts(line, reason, tmp_path):
    text = VECTORS["signatures"]["ed25519"]
    signature = parse_signature(text)
    allowed = f"# ours\n\nanna {line.format(key=signature.key.to_line())} comment\n"
    assert plain_verify(tmp_path, text, MESSAGE, "anna", allowed) == (reason is None)
    parsed = parse_allowed(allowed, where="file")
    if reason is None:
        assert find_signer(signature, MOMENT, parsed, frozenset()) == "anna"
        with pytest.raises(SignatureError, match="is revoked"):
            find_signer(signature, MOMENT, parsed, frozenset([signature.key.blob]))
        return
    with pytest.raises(SignatureError) as caught:
        find_signer(signature, MOMENT, parsed, frozenset())
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("*@authority.example.com cert-authority {ca}", None),
        ("anna@* cert-authority {ca}", None),
        ("bob@* cert-authority {ca}", "unknown signer"),
        ('* cert-authority,valid-before="20260101Z" {ca}', "expired"),
        ("* {ca}", "unknown signer"),
    ],
)
def test_certificates_count_as_for_plain_ssh_keygen(line, reason, tmp_path):
    text = VECTORS["signatures"]["certified by authority"]
    signature = parse_signature(text)
    authority = signature.key.certificate.authority
    written = f"ssh-ed25519 {b64encode(authority).decode()}"
    allowed = line.format(ca=written) + "\n"
    principal = "anna@authority.example.com"
    assert plain_verify(tmp_path, text, MESSAGE, principal, allowed) == (reason is None)
    parsed = parse_allowed(allowed, where="file")
    if reason is None:
        assert principal in find_signer(signature, MOMENT, parsed, frozenset())
        with pytest.raises(SignatureError, match="is revoked"):
            find_signer(signature, MOMENT, parsed, frozenset([authority]))
        with pytest.raises(SignatureError, match=r"certificate .* was not valid"):
            find_signer(signature, 3e9, parsed, frozenset())
        return
    with pytest.raises(SignatureError) as caught:
        find_signer(signature, MOMENT, parsed, frozenset())
    assert caught.value.reason == reason
