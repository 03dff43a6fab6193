"""The turns of `repeat` and `for`: the layers that they run, and the variables of each turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...spec.expressions import ItemBudget, resolve
from ...spec.syntax.read import Node
from ..graph import Wire
from .entries import Reader
from .limits import MAX_ENTRIES
from .scope import Scope


@dataclass(frozen=True, slots=True)
class Loop:
    """Layers that run once for each of `turns`, which hold the variables of a turn."""

    layers: Node
    at: Node
    """Where turns are counted: `times`, or the lists that are walked."""
    turns: Sequence[Mapping[str, Any]]


class Loops:
    """Reads loops; None stands for one with a mistake, which is reported."""

    def __init__(self, read: Reader, budget: ItemBudget) -> None:
        self.read, self.budget = read, budget

    def repeat(self, options: Node, scope: Scope, x: Wire) -> Loop | None:
        """Read `repeat: {times: 3, layers: [...]}`."""
        path = scope.names.prefix + "repeat"
        fields = self.read.fields("repeat", options, scope, "times", "layers")
        if fields is None:
            return None
        what = "`times` must be a whole number"
        times = self.read.value(fields["times"], scope.variables(x), int, what, f"{path}.times")
        if times is None:
            return None
        # The count of entries would end the loop too, but with a message about the whole network
        if not 0 <= times <= MAX_ENTRIES:
            limit = f"at most {MAX_ENTRIES:,}" if times > 0 else "at least 0"
            self.read.fail(f"`times` must be {limit}, not {times:,}", "", fields["times"], f"{path}.times")
            return None
        name = self.read.index(fields.get("index"), options, scope, path)
        return Loop(fields["layers"], fields["times"], [{name: i} for i in range(times)]) if name else None

    def walk(self, entry: Node, scope: Scope, x: Wire) -> Loop | None:
        """Read `for: {width: [64, 128], depth: [2, 2]}` with `layers` beside it: one turn per element."""
        path = scope.names.prefix + "for"
        loop = entry.map.get("for", Node(None, entry.mark))
        lists = resolve(loop, scope.variables(x), self.read.error_callback(path), self.budget)
        columns = self.read.columns(lists, entry, path)
        index = self.read.index(entry.map.get("index"), entry, scope, path)
        if columns is None or not index:
            return None
        rows = zip(*columns.values(), strict=True)
        turns = [
            {index: i, **dict(zip(columns, (n.plain() for n in row), strict=True))} for i, row in enumerate(rows)
        ]
        return Loop(entry.map["layers"], loop, turns)
