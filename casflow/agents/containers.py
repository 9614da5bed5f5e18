"""The container of a run, as its agent sees it.

Owns pulling its image, starting it, streaming its output and removing it. Invariant: the agent's
connection is the container's standard input, so the container ends with the agent; when its
outcome is recorded it is removed; when the engine goes away, the run returns to the queue.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from casflow import secrets
from casflow.agents import lifetime
from casflow.agents.process import RunProcess
from casflow.errors import AccessError, CasflowError, NotFoundError, UnavailableError
from casflow.storage.docker.engine import engine_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from casflow.agents.logs import RunLog
    from casflow.registry import Run
    from casflow.storage.docker.engine import Engine

log = logging.getLogger("casflow.agents")

_HEADER = 8  # bytes before each piece of output: its stream, and its length
_POLL_INTERVAL = 0.5  # seconds between two questions to the engine about a container that ended
_SHUTDOWN_WINDOW = 2.0  # seconds that an engine may take to go down after it ended its containers
# Of a pull: this machine has no credential, or something is away. Another agent may do better.
_OF_THE_AGENT = (AccessError.exit_code, UnavailableError.exit_code)
_KILLED = (128 + signal.SIGKILL, 128 + signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """The settings of a run's container.

    Attributes:
        environment: Environment variables; secrets are among them.
        volumes: Folder in the container by folder here.
        labels: Labels of the container.
        network: Network, or None for the engine's default.
        memory: Bytes that it may use, as the engine takes them, such as `512m`.
        cpus: Processors that it may use.
        user: User and group by number, or None for the image's.
    """

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    volumes: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str | None = None
    memory: str | None = None
    cpus: float | None = None
    user: str | None = None

    def host_config(self, client: Any) -> Any:
        """Return what the SDK calls the host's part."""
        return client.create_host_config(
            init=True,  # else nothing could end the run's process, the first in its container
            binds=[f"{here}:{there}" for here, there in self.volumes.items()],
            network_mode=self.network,
            mem_limit=self.memory,
            nano_cpus=None if self.cpus is None else int(self.cpus * 1e9),
        )


class RunContainer(RunProcess):
    """A run in a container of its own.

    Args:
        run: The run as it was claimed.
        spec: What its process needs.
        engine: Where it runs.
        image: Exact name of the image.
        options: Settings of the container.
        blame: Says of an error at its start whose fault it is.

    Raises:
        UnavailableError: The engine does not answer.
    """

    def __init__(
        self,
        run: Run,
        spec: lifetime.RunSpec,
        engine: Engine,
        image: str,
        options: ContainerOptions,
        blame: Callable[[CasflowError], CasflowError],
    ) -> None:
        super().__init__(run)
        self._spec = spec
        self._engine = engine
        self._image = image
        self._options = options
        self._blame = blame
        self._next_poll = 0.0
        self._exited_at: float | None = None
        self._output = b""
        self._log: RunLog | None = None
        self._container = ""
        self._connection: Any = None
        self._pull: subprocess.Popen[str] | None = None
        if engine.find_image(image) is None:
            self._pull = _start_pull(engine, image, str(spec.storage.get("registry_url") or ""))
        else:
            self._start()

    @property
    def pid(self) -> str:
        """What identifies it to people."""
        return f"container {self._container[:12]}" if self._container else "container, once pulled"

    def exit_code(self) -> int | None:
        """Return how it ended; None while it is pulled or runs."""
        self.kill_when_due()
        if self._pull is not None:
            return self._finish_pull(self._pull)
        if self._connection is not None and not self._read_output():
            return None
        if time.monotonic() < self._next_poll:
            return None
        self._next_poll = time.monotonic() + _POLL_INTERVAL
        return self._inspect()

    def keep_log(self, log: RunLog) -> None:
        """Have what it prints kept."""
        self._log = log

    # ---- before it runs --------------------------------------------------------------------

    def _finish_pull(self, pull: subprocess.Popen[str]) -> int | None:
        code = pull.poll()
        if code is None:
            return None
        errors = pull.communicate()[1].strip().splitlines()
        self._pull = None
        if code == 0 and not self.was_stopped:
            return self._start_or_fail()
        self.reason = errors[-1] if errors else "the image could not be pulled"
        if code in _OF_THE_AGENT:
            self.start_error = UnavailableError(self.reason)
        return code or 1

    def _start_or_fail(self) -> int | None:
        try:
            self._start()
        except CasflowError as caught:
            error = caught if isinstance(caught, UnavailableError) else self._blame(caught)
            self.reason = str(error)
            self.start_error = error if isinstance(error, UnavailableError) else None
            return error.exit_code
        return None

    def _start(self) -> None:
        client, options = self._engine.client, self._options
        with engine_errors(self._image):
            self._container = client.create_container(
                self._image,
                entrypoint=["python", "-P", "-m", "casflow.agents.execute"],
                command=[str(self.run.id)],
                stdin_open=True,
                environment=dict(options.environment),
                labels=dict(options.labels),
                user=options.user,
                host_config=options.host_config(client),
            )["Id"]
            try:
                self._connect(client)
            except BaseException:
                self._remove()
                raise

    def _connect(self, client: Any) -> None:
        options = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        self._connection = client.attach_socket(self._container, params=options)
        client.start(self._container)
        spec = BytesIO()
        lifetime.send(self._spec, spec)
        raw = _raw(self._connection)
        raw.sendall(spec.getvalue())
        raw.setblocking(False)  # noqa: FBT003 - the socket's own signature

    # ---- while it runs ---------------------------------------------------------------------

    def _read_output(self) -> bool:
        """Pass its output on; return whether that has ended."""
        try:
            while piece := _raw(self._connection).recv(1 << 16):
                self._output += piece
                self._forward_output()
        except BlockingIOError:
            return False
        except OSError:  # the engine went away
            pass
        self._connection.close()
        self._connection = None
        if self._log is not None:
            self._log.close()
        return True

    def _forward_output(self) -> None:
        while len(self._output) >= _HEADER:
            end = _HEADER + int.from_bytes(self._output[4:_HEADER], "big")
            if len(self._output) < end:
                return
            text = self._output[_HEADER:end].decode(errors="replace")
            self._output = self._output[end:]
            sys.stderr.write(secrets.redact(text))
            if self._log is not None:
                self._log.write(text.encode())

    def _inspect(self) -> int | None:
        """Ask the engine how it ended; None while it runs or nobody can say."""
        try:
            with engine_errors(self._container):
                state = self._engine.client.inspect_container(self._container)["State"]
        except NotFoundError:
            return self._lost()
        except CasflowError:
            self.was_stopped = True  # the engine went away, and took the run with it
            return None
        if state["Running"] or self._may_be_shutdown(state):
            return None
        self._remove()
        if state.get("OOMKilled"):
            self.reason = "its container used more memory than it may"
        return cast("int", state["ExitCode"])

    def _may_be_shutdown(self, state: Mapping[str, Any]) -> bool:
        """Tell whether it is too early to say if a flow was killed or the whole engine ends."""
        if state["ExitCode"] not in _KILLED or state.get("OOMKilled") or self.was_stopped:
            return False
        now = time.monotonic()
        self._exited_at = self._exited_at or now
        return now < self._exited_at + _SHUTDOWN_WINDOW

    def _lost(self) -> int:
        self.was_stopped = True
        return 128 + signal.SIGKILL

    def _signal(self, number: int) -> None:
        if self._pull is not None:
            self._pull.send_signal(number)
        elif self._container:
            with suppress(CasflowError), engine_errors(self._container):
                self._engine.client.kill(self._container, signal=number)

    def _remove(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        with suppress(CasflowError), engine_errors(self._container):
            self._engine.client.remove_container(self._container, force=True, v=True)


def _start_pull(engine: Engine, image: str, registry_url: str) -> subprocess.Popen[str]:
    """Pull in a process of its own, so that the agent goes on meanwhile."""
    arguments = [image, engine.base_url or "", registry_url]
    command = [sys.executable, "-P", "-m", "casflow.agents.pull", *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _raw(connection: Any) -> Any:
    """Return the socket below the file that the SDK makes of it."""
    return getattr(connection, "_sock", connection)
