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
from typing import TYPE_CHECKING, Any

import click

from casflow.cli.output import transfers
from casflow.errors import CasflowError, ConfigError, bounded
from casflow.streams import safe_streams

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "agent": ("casflow.cli.agent:agent", "Start agents and look at them."),
    "cache": ("casflow.cli.cache:cache", "Look at this machine's cache, and clean it."),
    "cat": ("casflow.cli.trees:cat", "Print a file of a tree."),
    "checkout": ("casflow.cli.trees:checkout", "Make a folder of a version of a tree."),
    "config": ("casflow.cli.settings:config", "Look at the settings."),
    "copy": ("casflow.cli.trees:copy", "Copy a version from one store to another."),
    "demo": ("casflow.cli.demo:demo", "Store a flow and a project; run them cold and warm."),
    "diff": ("casflow.cli.diff:diff", "Show where two versions of a flow differ."),
    "exec": ("casflow.cli.trees:execute", "Run a command in a version of a tree."),
    "gc": ("casflow.cli.gc:gc", "Collect what nobody needs: condemn, wait, delete."),
    "k8s": ("casflow.cli.k8s:k8s", "Print manifests for Kubernetes."),
    "log": ("casflow.cli.trees:log", "List the versions of a tree, or the moves of a tag."),
    "ls": ("casflow.cli.show:ls", "List the latest version of every flow."),
    "pin": ("casflow.cli.pins:pin", "Keep a version whatever retention says."),
    "push": ("casflow.cli.trees:push", "Store a folder as the next version of a name."),
    "register": ("casflow.cli.register:register", "Store flows and record their versions."),
    "registry": ("casflow.cli.registry:registry", "Look after the registry."),
    "run": ("casflow.cli.run:run", "Run a version of a flow in this process."),
    "runs": ("casflow.cli.runs:runs", "Ask for runs and look at them."),
    "show": ("casflow.cli.show:show", "Show a flow and its versions, newest first."),
    "stats": ("casflow.cli.stats:stats", "Count what is stored, and what is stored once."),
    "status": ("casflow.cli.trees:status", "Show what was edited in a checked-out folder."),
    "tag": ("casflow.cli.trees:tag", "Let a tag name a version, or list the tags."),
    "top": ("casflow.cli.top:top", "Watch agents, runs and hits as they change."),
    "undelete": ("casflow.cli.pins:undelete", "Bring a version back from the trash."),
    "unpin": ("casflow.cli.pins:unpin", "Remove a pin."),
    "verify": ("casflow.cli.verify:verify", "Read back what is stored and hold it to its digests."),
}
"""Where each command is, and what it does in a line; it is imported only when it is called."""

_NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP)  # what no file can be called, or leads in circles
_INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return one command, or None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that arguments begin with; a misspelt one is told what is near it."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, 1)
            if near:
                ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in sorted(COMMANDS.items())])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="casflow")
@click.option("-v", "--verbose", count=True, help="Tell more on standard error; twice for all.")
def casflow(verbose: int) -> None:
    """Content-addressed storage for workflow flows and projects, with a local cache.

    Exit codes: 0 done, 1 failed, 2 wrong request, 3 not found, 4 damaged, 5 conflict, 6 no
    access, 7 unavailable now, 130 interrupted.
    """
    levels = {0: logging.WARNING, 1: logging.INFO}
    logging.basicConfig(
        stream=sys.stderr,
        level=levels.get(verbose, logging.DEBUG),
        format="%(levelname)s %(name)s: %(message)s",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
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
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return f"unexpected {line}; casflow -vv shows where", 1


def _print_error(line: str, code: int) -> int:
    click.echo(f"error: {bounded(line)}", err=True)
    return code
