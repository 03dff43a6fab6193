"""Commands whose options are read once they are called: to read those of all takes longer than many a command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import typer
import typer.core
import typer.main


class OnDemand(Mapping[str, Any]):
    """Commands by name, in the order of the help; each is built from its function, or its group, at first use."""

    def __init__(self, *commands: Callable[..., None] | typer.Typer) -> None:
        self.apps = dict(map(_named, commands))
        self.built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.built:
            self.built[name] = typer.main.get_command(self.apps[name])
        return self.built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.apps)

    def __len__(self) -> int:
        return len(self.apps)


def _named(command: Callable[..., None] | typer.Typer) -> tuple[str, typer.Typer]:
    if isinstance(command, typer.Typer):
        return str(command.info.name), command
    name = command.__name__.replace("_", "-")
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name)(command)
    return name, alone


def group_of(commands: OnDemand) -> type[typer.core.TyperGroup]:
    """Return the class of a group that has these commands."""

    class Group(typer.core.TyperGroup):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.commands = cast("Any", commands)  # typer asks for a command, and never adds one

    return Group
