"""The real git protocol over ssh: `sshd` on loopback, which lets one key in, to git's own shell.

Host keys, user keys and what ssh knows of hosts are the test's own; a program `ssh` in front on the
path hands them to the real one, as a user's settings would.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self
from unittest import mock

from tests.hosts.server import Host
from tests.services.presence import program, require
from tests.services.process import Server

if TYPE_CHECKING:
    from tests.hosts.repository import Repository

SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
AcceptEnv GIT_PROTOCOL
ForceCommand {folder}/command
"""
CLIENT = """\
Host *
  IdentityFile {folder}/user
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
"""
COMMAND = """\
#!/bin/sh
export GIT_TRACE_PACKET={folder}/packets GIT_CONFIG_COUNT=1
export GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
cd {folder} && exec git-shell -c "$SSH_ORIGINAL_COMMAND"
"""


class SshServer(Server):
    """The server process, for whoever runs the tests."""

    name = "ssh"

    def __init__(self) -> None:
        super().__init__()
        for each in ("host", "user"):
            self.make_key(each)
        self.write("server", SERVER)
        self.write("client", CLIENT)
        self.write("command", COMMAND).chmod(0o755)
        key = (self.folder / "host.pub").read_text()
        self.write("known_hosts", f"[127.0.0.1]:{self.port} {key}")
        (self.folder / "bin").mkdir()
        real = f'exec {program("ssh")} -F {self.folder}/client "$@"'
        self.write("bin/ssh", f"#!/bin/sh\n{real}\n").chmod(0o755)

    def make_key(self, name: str) -> None:
        """Make a key without a passphrase."""
        quiet = ["-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
        subprocess.run(["ssh-keygen", *quiet], check=True)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the server's folder."""
        path = self.folder / name
        path.write_text(text.format(folder=self.folder, port=self.port))
        return path

    def command(self) -> list[str]:
        """Return the command line; started by root, the server wants a folder of its own."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        return [program("sshd"), "-D", "-e", "-f", str(self.folder / "server")]


class GitSshHost(Host):
    """Serves the repository as `org/repo.git` to the key that it made."""

    def __init__(self, repository: Repository, token: str | None = None) -> None:
        super().__init__(repository, token)
        require("git over ssh", "sshd", "ssh", "ssh-keygen", install="openssh-server")
        self.server = SshServer()
        (self.server.folder / "org").mkdir()
        (self.server.folder / "org/repo.git").symlink_to(repository.folder)
        path = f"{self.server.folder}/bin{os.pathsep}{os.environ['PATH']}"
        self._path = mock.patch.dict(os.environ, {"PATH": path})
        self._path.start()

    @property
    def url(self) -> str:
        """The address without the repository's path."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.server.port}{self.server.folder}"

    @property
    def asked(self) -> list[str]:
        """The commands of git's protocol."""
        packets = self.server.folder / "packets"
        found = packets.read_text() if packets.exists() else ""
        return re.findall(r"upload-pack< command=(ls-refs|fetch)", found)

    def forget(self) -> None:
        """Empty the log of packets."""
        (self.server.folder / "packets").unlink(missing_ok=True)

    def start(self) -> Self:
        """Listen, on the port of the last time if there was one."""
        if self.server.process is None:
            self.server.start()
        return self

    def close(self) -> None:
        """Stop, and remove the keys."""
        self.stop()
        self._path.stop()
        shutil.rmtree(self.server.folder)

    def stop(self) -> None:
        """Stop listening; nothing happens when the host is stopped."""
        if self.server.process is not None:
            self.server.kill()
