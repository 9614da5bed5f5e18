"""The README's commands on a fresh machine: a Debian root with Python, venv and git, no root user.

`python -m tests.services.newcomer RELEASE NUMBER` runs the command of that number, literally, in a
clone of this repository, and prints how long it took and how many packages it installed. Owns the
archives of such roots, which stay in the cache folder. Invariant: nothing of this machine is seen
there but what its network needs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.docs.pages import ROOT, opening_commands
from tests.services.images import debian_root

PACKAGES = "python3,python3-venv,git,ca-certificates"
USER = 1000
_NETWORK = ("/etc/resolv.conf", "/etc/hosts")
_SETTINGS = ("SSL_CERT_FILE", "PIP_CERT", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "HTTPS_PROXY")
_INSIDE = """
set -e
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$1/dev/pts"
ln -sf pts/ptmx "$1/dev/ptmx"
exec chroot --userspec={user}:{user} "$1" sh -c 'cd "$HOME/casflow" && {command}'
"""


def run(release: str, command: str) -> int:
    """Run a command of the README in a fresh root; return its exit code."""
    archive = debian_root("venv", release, PACKAGES)
    with tempfile.TemporaryDirectory(prefix="casflow-newcomer-") as folder:
        root = Path(folder)
        subprocess.run(["tar", "-C", str(root), "-xf", str(archive)], check=True)
        home = _prepare(root)
        began = time.monotonic()
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", _inside(command), "sh", str(root)],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            check=False,
        )
        took = time.monotonic() - began
        found = {each.name for each in home.glob("casflow/.venv/lib/*/site-packages/*.dist-info")}
        print(f"{release}: exit code {done.returncode}, {took:.0f} s, {len(found)} packages")
    return done.returncode


def _prepare(root: Path) -> Path:
    """Give a root a user, a clone and the network; return the user's home."""
    home = root / "home" / "newcomer"
    home.mkdir(parents=True)
    entry = f"newcomer:x:{USER}:{USER}::/home/newcomer:/bin/sh\n"
    with (root / "etc/passwd").open("a") as users:
        users.write(entry)
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, home / "casflow"], check=True)
    subprocess.run(["chown", "-R", f"{USER}:{USER}", str(home)], check=True)
    for file in _NETWORK:
        shutil.copyfile(file, f"{root}{file}")
    return home


def _inside(command: str) -> str:
    assert "'" not in command
    return _INSIDE.format(user=USER, command=command)


def _environment() -> dict[str, str]:
    """Return a plain environment, with what the network of this machine needs."""
    network = {name: os.environ[name] for name in _SETTINGS if name in os.environ}
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": "/home/newcomer",
        "LANG": "C.UTF-8",
        **network,
    }


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], opening_commands()[int(sys.argv[2]) - 1]))
