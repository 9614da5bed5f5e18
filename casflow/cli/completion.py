"""`casflow completion`: words that a shell offers after the tab key.

Owns what is offered for the name of a flow. Invariant: commands and options are read from the
commands themselves, by click; a registry that cannot be read offers nothing, and says nothing.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from casflow.errors import CasflowError, ConfigError

_MOST = 100  # words


def complete_flow(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return names of flows, or names with their versions once there is an @."""
    del param
    from casflow import config
    from casflow.registry import Registry

    name, at, _ = incomplete.rpartition("@")
    project = ctx.params.get("project")
    try:
        with Registry(config.load().registry) as registry:
            if at:
                found = registry.versions(project, name, limit=_MOST)
                words = [f"{name}@{each.number}" for each in found]
            else:
                words = [each.flow for each in registry.flows(project)]
    except CasflowError:
        return []
    return [word for word in words if word.startswith(incomplete)][:_MOST]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "fish", "zsh"]))
def completion(shell: str) -> None:
    """Print the completions of SHELL: eval "$(casflow completion bash)".

    To keep them, write them where the shell looks: for bash to
    ~/.local/share/bash-completion/completions/casflow, for fish to
    ~/.config/fish/completions/casflow.fish, for zsh to a file _casflow in a folder of $fpath.
    """
    from casflow.cli import casflow

    completer = get_completion_class(shell)
    if completer is None:
        raise ConfigError("no completions for this shell", where=shell)
    try:
        click.echo(completer(casflow, {}, "casflow", "_CASFLOW_COMPLETE").source())
    except RuntimeError as error:  # a bash that cannot, such as that of macOS
        raise ConfigError(str(error)) from error
