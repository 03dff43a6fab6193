"""Copies that follow a network: `target: {copy: q, follow: {every: 500}}`, or `{ema: 0.995}`, under `networks`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Field, PositiveInt, model_validator

from ...errors import Problem
from ...registry import Strict
from ..syntax.read import Node
from ..validation import build, shown

FOLLOW = "follow"


class Follow(Strict):
    """How a copy follows the network that it is of: all of it now and then, or a little of it after each step."""

    every: PositiveInt | None = Field(None, description="steps from one copy of all weights to the next")
    ema: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="share of itself that it keeps in each step, the decay of an exponential moving average"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.every is None and self.ema is None:
            raise ValueError(
                "`follow` wants `every`, steps from copy to copy, or `ema`, what it keeps of itself in a step"
            )
        if self.every is not None and self.ema is not None:
            raise ValueError("`follow` has `every` and `ema`: keep one of the two")
        return self


@dataclass(frozen=True)
class Follower:
    """A network that follows another one.

    Attributes:
        of: the name of that.
        how: how it does.
    """

    of: str
    how: Follow

    def as_json(self) -> dict[str, float]:
        """Return what `inspect --json` says of it."""
        return {key: value for key, value in self.how.model_dump().items() if value is not None}

    def __str__(self) -> str:
        if self.how.every is None:
            return f"follows `{self.of}`: it keeps {self.how.ema:g} of itself in each step"
        n = self.how.every
        return f"follows `{self.of}`: it becomes a copy of that every {'step' if n == 1 else f'{n:,} steps'}"


def parse_followers(networks: Mapping[str, Node], resolved: Any, problems: list[Problem]) -> dict[str, Follower]:
    """Return the networks that follow others, by name; mistakes go to `problems`.

    Arguments:
        networks: the nodes under `networks` as written.
        resolved: replaces the expressions in a node: `resolved(node, path)`.
        problems: where mistakes go.
    """
    found = {}
    for name, node in networks.items():
        if not node.is_map or FOLLOW not in node.map:
            continue
        said, path = node.map[FOLLOW], f"networks.{name}.{FOLLOW}"
        if "copy" not in node.map:
            message = f"`networks.{name}` has `{FOLLOW}`, and is no copy of a network that it could follow"
            problems.append(Problem(message, f"Write `{name}: {{copy: NAME, {FOLLOW}: ...}}`.", said.mark, path))
            continue
        said = resolved(said, path)
        if not said.is_map and not said.broken:
            message = f"`{FOLLOW}` must be a mapping, not {shown(said.plain())}"
            problems.append(Problem(message, "Write `{every: 500}` or `{ema: 0.995}`.", said.mark, path))
            continue
        how = build(Follow, said, path, problems)
        of = node.map["copy"].value
        if how is not None and isinstance(of, str):
            found[name] = Follower(of, how)
    return found
