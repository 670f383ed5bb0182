"""Help that teaches: examples as they are typed, and where to read on. It must not know any command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


class _Taught(click.Command):
    """A command whose help ends with examples.

    Args:
        examples: lines that are shown as they are, however narrow the terminal is: they can be copied.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **more: Any) -> None:
        super().__init__(*args, **more)
        self._examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then the names of the commands beside this one."""
        if self._examples:
            with formatter.section("Examples"):
                for line in self._examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")
        if ctx.parent is not None and isinstance(ctx.parent.command, click.Group):
            others = [name for name in ctx.parent.command.list_commands(ctx.parent) if name != self.name]
            formatter.write_paragraph()
            formatter.write_text(f"See also: {', '.join(f'lbnet {name} -h' for name in others)}")
        super().format_epilog(ctx, formatter)


class Command(_Taught):
    """One command."""


class Group(_Taught, click.Group):
    """A command that holds others."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names.

        Raises:
            UsageError: there is none; the sentence says what there is.
        """
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}; there are: {', '.join(self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)
