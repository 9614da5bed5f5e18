"""Groups of commands.

Owns what a misspelt command and a repeated option are told, in whatever group they stand.
"""

from __future__ import annotations

import click

from casflow.errors import did_you_mean


class Group(click.Group):
    """A group that names the command that was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that arguments begin with; a misspelt one is told what is near it."""
        names = self.list_commands(ctx)
        is_known = args[0] in names or args[0].startswith("-")
        if not is_known and (hint := did_you_mean(args[0], names)):
            ctx.fail(f"No such command {args[0]!r}. D{hint[1:]}")
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not isinstance(command, click.Group):
            _refuse_repeats(command, rest, ctx)
        return name, command, rest


def _refuse_repeats(command: click.Command, arguments: list[str], parent: click.Context) -> None:
    """Refuse an option of which only one value can count, when it is given twice.

    Raises:
        click.UsageError: There is one: the other value would be dropped without a word.
    """
    context = click.Context(command, parent=parent, **command.context_settings)
    try:
        _, _, order = command.make_parser(context).parse_args(list(arguments))
    except click.UsageError:  # it is said when the command itself reads them
        return
    single = [each for each in order if isinstance(each, click.Option) and _has_one_value(each)]
    for option in single:
        if single.count(option) > 1:
            parent.fail(f"Option {' / '.join(option.opts)} is given {single.count(option)} times.")


def _has_one_value(option: click.Option) -> bool:
    return not (option.multiple or option.count or option.is_flag)
