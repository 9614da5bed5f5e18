"""Signing and checking by `ssh-keygen -Y`.

Owns the calls. Invariant: the private key is read by ssh-keygen or held by the agent, never seen
here; whether a key is trusted is not asked of ssh-keygen, only whether the signature is right.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from casflow.errors import AccessError, UnavailableError
from casflow.signing.sshsig import NAMESPACE, Signature, parse_signature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TIMEOUT = 60.0  # seconds of a check; a signature waits for a passphrase or a touch


def program() -> str | None:
    """Return where ssh-keygen is, or None."""
    from shutil import which

    return which("ssh-keygen")


def sign(message: bytes, key: Path) -> Signature:
    """Sign with the private key in a file, or with the agent's for a public one.

    Raises:
        AccessError: ssh-keygen refused.
    """
    command = ["-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(key)]
    shown = sys.stderr.isatty()  # where somebody is asked to touch a security key
    done = _call(command, message, timeout=None, stderr=None if shown else subprocess.PIPE)
    if done.returncode:
        reason = "see above" if shown else _reason(done.stderr)
        raise AccessError(f"ssh-keygen does not sign ({reason})", where=key)
    return parse_signature(done.stdout.decode(errors="replace"))


def is_right(signature: Signature, message: bytes) -> bool:
    """Tell whether a signature of our namespace is one of its key over a message.

    Raises:
        UnavailableError: ssh-keygen gave no answer.
    """
    with tempfile.NamedTemporaryFile("w", prefix="casflow-", suffix=".sig") as file:
        file.write(signature.to_text())
        file.flush()
        command = ["-Y", "check-novalidate", "-n", NAMESPACE, "-s", file.name]
        done = _call(command, message, timeout=_TIMEOUT)
    return done.returncode == 0


def agent_keys() -> list[str]:
    """Return the lines of the public keys that the user's ssh-agent holds."""
    if not os.environ.get("SSH_AUTH_SOCK"):
        return []
    try:
        done = subprocess.run(
            ["ssh-add", "-L"],
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
            text=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def _call(
    arguments: Sequence[str],
    message: bytes,
    timeout: float | None,
    stderr: int | None = subprocess.PIPE,
) -> subprocess.CompletedProcess[bytes]:
    command = [program() or "ssh-keygen", *arguments]
    try:
        return subprocess.run(
            command,
            input=message,
            stdout=subprocess.PIPE,
            stderr=stderr,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError("ssh-keygen gives no answer", where=command[0]) from error


def _reason(stderr: bytes) -> str:
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no reason given"
