"""What scores of attention cost: all queries by all keys, or those near each other, block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from .arithmetic import Line, line, product, summed


@dataclass(frozen=True, slots=True)
class Scores:
    """Queries by keys of one head: T by S, or with a window those of each block of queries and the keys around it."""

    queries: int
    keys: int
    blocks: int = 1

    @property
    def pairs(self) -> int:
        """Number of scores of a head."""
        return self.blocks * self.queries * self.keys

    @property
    def formula(self) -> str:
        return "blocks * W * near" if self.blocks > 1 else "T * S"

    @property
    def names(self) -> dict[str, int]:
        if self.blocks > 1:
            return {"blocks": self.blocks, "W": self.queries, "near": self.keys}
        return {"T": self.queries, "S": self.keys}


def scores_of(t: int, s: int, window: int | None, is_causal: bool, masked: bool) -> Scores:
    """Return the scores that are computed of `t` queries and `s` keys; a mask wants all of them."""
    if window is None or masked or t != s or t <= window:
        return Scores(t, s)
    return Scores(window, (2 if is_causal else 3) * window, -(-t // window))


def step_lines(formulas: Mapping[str, str], names: Mapping[str, int], around: Sequence[int]) -> list[Line]:
    """Return the lines of the MACs of each product, and of their sum."""
    often = f"{product(around)} times * " if around else ""
    lines = []
    for what, each in formulas.items():
        once = line(each, names, what=what, part="multiply-adds")
        value = int(once.value or 0) * prod(around)
        formula = f"{'times * ' if around else ''}{each}"
        lines.append(replace(once, formula=formula, numbers=f"{often}{once.numbers}", value=value))
    values = [int(made.value or 0) for made in lines]
    return [*lines, Line("total", "", summed(values), sum(values), part="multiply-adds")]
