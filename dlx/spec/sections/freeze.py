"""The section `freeze`: nodes whose weights are not trained, or not yet.

freeze: [stem, "*/conv_1"]
freeze: [{match: trunk, until: {epoch: 3}}, {match: stem, mode: eval}]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from ...errors import Problem
from ...registry import Strict
from ..syntax.read import Node
from ..validation import build, shown

MAX_PATTERNS = 100
PATH = "freeze"


class Until(Strict):
    """The end of a freeze: weights move from the update after it on."""

    step: PositiveInt | None = Field(None, description="after so many updates; or give `epoch`")
    epoch: PositiveInt | None = Field(None, description="after so many epochs; or give `step`")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.step is None) == (self.epoch is None):
            raise ValueError("give one of the two, `step` or `epoch`")
        return self

    def __str__(self) -> str:
        return f"step {self.step:,}" if self.step is not None else f"epoch {self.epoch:,}"


class Freeze(Strict):
    """Nodes whose weights are not trained."""

    match: str | list[str] = Field(description="nodes or scopes, with *: trunk, '*/conv_1'")
    until: Until | None = Field(None, description="when they begin to move: {step: 500} or {epoch: 3}")
    mode: Literal["train", "eval"] = Field(
        "train", description="eval also holds running statistics and dropout, as in evaluation"
    )


@dataclass(frozen=True)
class FreezePattern:
    """One pattern with the node that it is written in, and how the nodes that it matches are frozen."""

    node: Node
    text: str
    until: Until | None = None
    held: bool = False
    """Whether they are in evaluation mode."""

    def plain(self) -> str | dict[str, object]:
        """Return it as a spec would write it."""
        if self.until is None and not self.held:
            return self.text
        ends = {} if self.until is None else {"until": self.until.model_dump(exclude_none=True)}
        return {"match": self.text, **ends, **({"mode": "eval"} if self.held else {})}


def parse_freeze(node: Node | None, problems: list[Problem]) -> tuple[FreezePattern, ...]:
    """Parse `freeze`: a pattern, a mapping, or a list of both. Of items that match a node the first one counts."""
    if node is None:
        return ()
    items = node.list if node.is_list else [node]
    if len(items) > MAX_PATTERNS:
        message = f"`freeze` has {len(items):,} patterns, and {MAX_PATTERNS} are the most"
        problems.append(Problem(message, "One pattern can name many: `stage_*`.", items[0].mark, PATH))
        return ()
    found: list[FreezePattern] = []
    for number, item in enumerate(items):
        path = f"{PATH}.{number}" if node.is_list else PATH
        if isinstance(item.value, str):
            found.append(FreezePattern(item, item.value))
        elif item.is_map:
            found += _patterns(item, build(Freeze, item, path, problems))
        elif not item.broken:
            message = f"`freeze` takes names of nodes, with `*`, not {shown(item.plain())}"
            hint = "Write `freeze: [stem, stage_1/*]`, or `{match: stem, until: {epoch: 3}}`."
            problems.append(Problem(message, hint, item.mark, PATH))
    return tuple(found)


def _patterns(item: Node, made: Freeze | None) -> list[FreezePattern]:
    if made is None:
        return []
    node = item.map["match"]
    nodes = node.list if node.is_list else [node]
    return [FreezePattern(one, str(one.value), made.until, made.mode == "eval") for one in nodes]
