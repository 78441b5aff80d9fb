"""Which commands there are: a row for each. What a command does is loaded when it runs; the list of commands needs this table alone."""

import difflib
import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import click

__all__ = ["Entry", "LazyGroup"]


class Entry(NamedTuple):
    """What stands after `ucore`, or after a group's name."""

    name: str
    module: str  # of this part
    help: str
    section: str = "Commands"


class LazyGroup(click.Group):
    """A group whose commands are loaded when they run: `NAME` of `ukernel.cli.MODULE`, or `NAME_` where Python has the name."""

    def __init__(self, name: str, entries: Sequence[Entry], *, elsewhere: Mapping[str, str] | None = None, **settings: Any):
        """``elsewhere``: of words that are no command here, the command that is meant."""
        super().__init__(name, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]}, **settings)
        self._entries = {entry.name: entry for entry in entries}
        self._elsewhere = elsewhere or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the table's order."""
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; None where there is none of that name."""
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"ukernel.cli.{entry.module}")
        attribute = cmd_name.replace("-", "_")
        found = getattr(module, attribute, None) or getattr(module, attribute + "_", None)
        return found if isinstance(found, click.Command) else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names. Raises click's UsageError, which says what may be meant."""
        if args and args[0] not in self._entries and not args[0].startswith("-"):
            close = self._elsewhere.get(args[0]) or next(iter(difflib.get_close_matches(args[0], self._entries, 1)), "")
            ctx.fail(f"There is no command {args[0]!r}." + (f" Did you mean {close!r}?" if close else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, a section after the other. No command is loaded for it."""
        for section in dict.fromkeys(entry.section for entry in self._entries.values()):
            with formatter.section(section):
                formatter.write_dl([(entry.name, entry.help) for entry in self._entries.values() if entry.section == section])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete a command's name, without loading commands."""
        from click.shell_completion import CompletionItem

        found: Iterable[Entry] = (entry for entry in self._entries.values() if entry.name.startswith(incomplete))
        options = click.Command.shell_complete(self, ctx, incomplete) if incomplete.startswith("-") else []
        return [CompletionItem(entry.name, help=entry.help) for entry in found] + options
