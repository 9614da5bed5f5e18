"""The command line: argv in, text or JSON out.

Owns everything that prints or exits. Invariant: data goes to standard output, everything else to
standard error; an error is one line and the exit code that its class documents, never a traceback.
"""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from casflow.cli.groups import Group
from casflow.cli.output import transfers
from casflow.errors import CasflowError, ConfigError, bounded, from_os
from casflow.streams import safe_streams

if TYPE_CHECKING:
    from collections.abc import Sequence


class Entry(NamedTuple):
    """A command: where it is, below `casflow.cli`; what it does; whether help says that."""

    where: str
    summary: str
    usual: bool = False


COMMANDS = {
    "Flows": {
        "register": Entry("register:register", "Record versions of flows.", usual=True),
        "run": Entry("run:run", "Run a version of a flow in this process.", usual=True),
        "build": Entry("build:build", "Store flows now, to be registered later."),
        "ls": Entry("show:ls", "List the latest version of every flow.", usual=True),
        "show": Entry("show:show", "Show a flow and its versions, newest first.", usual=True),
        "import": Entry("imports:imports", "Take over what other programs stored."),
        "diff": Entry("diff:diff", "Show where two versions of a flow differ.", usual=True),
        "why": Entry("diff:why", "Show what made a version a new one."),
        "demo": Entry("demo:demo", "Store a flow and a project; run them cold and warm."),
    },
    "Projects": {
        "push": Entry("trees:push", "Store a folder as the next version of a name.", usual=True),
        "checkout": Entry("trees:checkout", "Make a folder of a version of a tree.", usual=True),
        "exec": Entry("trees:execute", "Run a command in a version of a tree.", usual=True),
        "tag": Entry("tags:tag", "Let a tag name a version, or list the tags.", usual=True),
        "cat": Entry("trees:cat", "Print a file of a tree."),
        "copy": Entry("trees:copy", "Copy a version from one store to another."),
        "sign": Entry("sign:sign", "Sign a version that is there."),
        "log": Entry("tags:log", "List the versions of a tree, or the moves of a tag."),
        "status": Entry("trees:status", "Show what was edited in a checked-out folder."),
    },
    "Runs": {
        "runs": Entry("runs:runs", "Ask for runs and look at them.", usual=True),
        "agent": Entry("agent:agent", "Start agents and look at them.", usual=True),
        "results": Entry("results:results", "List, read and remove written values of tasks."),
        "top": Entry("top:top", "Watch agents, runs and hits as they change."),
        "k8s": Entry("k8s:k8s", "Print manifests for Kubernetes."),
    },
    "Store": {
        "gc": Entry("gc:gc", "Collect what nobody needs: condemn, wait, delete.", usual=True),
        "verify": Entry("verify:verify", "Read back and check what is stored.", usual=True),
        "stats": Entry("stats:stats", "Count what is stored, and what is stored once."),
        "pin": Entry("pins:pin", "Keep a version whatever retention says."),
        "unpin": Entry("pins:unpin", "Remove a pin."),
        "undelete": Entry("pins:undelete", "Bring a version back from the trash.", usual=True),
    },
    "Machine": {
        "doctor": Entry("doctor:doctor", "Find what is wrong with this set-up.", usual=True),
        "cache": Entry("cache:cache", "Look at this machine's cache, and clean it.", usual=True),
        "completion": Entry("completion:completion", "Print completions for a shell."),
        "config": Entry("settings:config", "Look at the settings.", usual=True),
        "trust": Entry("trust:trust", "Say whose signatures count on this machine."),
        "registry": Entry("registry:registry", "Look after the registry."),
    },
}
"""The commands by what they are about; each is imported only when it is called."""

_HEAD = """\
Usage: casflow [OPTIONS] COMMAND [ARGS]...

Content-addressed storage for workflow flows and projects, with a local cache.

"""
_TAIL = """
casflow COMMAND -h explains a command. -v tells more on standard error, -vv all.
--version shows the version. Exit codes: 0 done, 1 failed, 2 wrong request,
3 not found, 4 damaged, 5 conflict, 6 no access, 7 unavailable, 130 interrupted.
"""
_NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP)  # what no file can be called, or leads in circles
_NO_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # of a stream, which has no name
_INTERRUPTED = 130
_LONGEST = 200  # characters of what could not be encoded


class LazyGroup(Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all commands."""
        return sorted(name for group in COMMANDS.values() for name in group)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return one command, or None when there is none of that name."""
        for group in COMMANDS.values():
            if cmd_name in group:
                module, _, attribute = group[cmd_name].where.partition(":")
                imported = importlib.import_module(f"casflow.cli.{module}")
                command: click.Command = getattr(imported, attribute)
                return command
        return None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin so, without importing any, and options."""
        words = [
            CompletionItem(name, help=each.summary)
            for commands in COMMANDS.values()
            for name, each in commands.items()
            if name.startswith(incomplete)
        ]
        return words + click.Command.shell_complete(self, ctx, incomplete)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands by group without importing any, on one screen."""
        formatter.write(_HEAD)
        for group, commands in COMMANDS.items():
            rows = [(name, each.summary) for name, each in commands.items() if each.usual]
            rest = [name for name, each in commands.items() if not each.usual]
            heads = [group, *[""] * len(rows)]
            for head, (name, text) in zip(heads, [*rows, ("also", ", ".join(rest))], strict=True):
                formatter.write(f"{head:<10}{name:<10}{text}\n")
        formatter.write(_TAIL)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="casflow")
@click.option("-v", "--verbose", count=True, help="Tell more on standard error; twice for all.")
def casflow(verbose: int) -> None:
    """Content-addressed storage for workflow flows and projects, with a local cache."""
    levels = {0: logging.WARNING, 1: logging.INFO}
    logging.basicConfig(
        stream=sys.stderr,
        level=levels.get(verbose, logging.DEBUG),
        format="%(levelname)s %(name)s: %(message)s",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    if "_CASFLOW_COMPLETE" in os.environ:  # a shell asks; a warning would stand in its prompt
        logging.disable()
    with safe_streams():
        code = _run(arguments)
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        with transfers():
            code: Any = casflow.main(arguments, prog_name="casflow", standalone_mode=False)
    except CasflowError as error:
        return _print_error(str(error), error.exit_code)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _print_error("interrupted", _INTERRUPTED)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        logging.getLogger("casflow").debug("unexpected error", exc_info=True)
        return _print_error(*_explain(error))
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> tuple[str, int]:
    """Return the line and the exit code of an error that is none of casflow's own."""
    if isinstance(error, OSError) and error.errno in _NO_PATH:
        return f"{error.filename!r} is no path: {error.strerror}", ConfigError.exit_code
    if isinstance(error, FileNotFoundError) and error.filename is None and not _has_folder():
        return "the current folder is gone; change to another one", ConfigError.exit_code
    if isinstance(error, OSError) and error.filename is not None:
        known = from_os(error, error.filename)
        return str(known), known.exit_code
    if isinstance(error, OSError) and error.errno in _NO_OUTPUT:
        known = from_os(error, "what is printed")
        return str(known), known.exit_code
    if isinstance(error, UnicodeEncodeError):  # a name or path of bytes that stand for no text
        return f"{error.object[:_LONGEST]!a} is no UTF-8", ConfigError.exit_code
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return f"unexpected {line}; casflow -vv shows where", 1


def _has_folder() -> bool:
    """Tell whether the working folder of this process is still there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _print_error(line: str, code: int) -> int:
    with suppress(OSError):  # the exit code still says it
        click.echo(f"error: {bounded(line)}", err=True)
    return code
