"""The section `prune`: weights that are set to zero before a training, and stay there.

prune: {fraction: 0.8}
prune: {fraction: 0.8, scope: global, skip: [head], rewind: init}
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ...errors import Problem
from ...registry import Strict
from ..syntax.read import Node
from ..validation import build, shown
from .initial_weights import Patterns, matches_any

PATH = "prune"


class Prune(Strict):
    """Weights that are zero throughout a training: a part of those that it starts from, by their magnitude.

    The masks are those of torch.nn.utils.prune: `l1_unstructured` (scope layer), `global_unstructured` (scope
    global), `ln_structured` with n=2 on the axis of the outputs (filters), `random_unstructured` (random).
    Source: Han et al. 2015, Learning both Weights and Connections, arXiv:1506.02626, section 3.
    """

    fraction: Annotated[float, Field(ge=0, le=1)] = Field(description="share of the weights that becomes zero")
    by: Literal["magnitude", "filters", "random"] = Field(
        "magnitude",
        description="the smallest weights; output units or filters of the smallest L2 norm; or any, drawn",
    )
    scope: Literal["layer", "global"] = Field(
        "layer", description="the fraction holds in each weight tensor, or over all of a network together"
    )
    match: str | Patterns = Field("*", description="nodes, scopes or weights, with *: trunk, '*/weight'")
    skip: Patterns = Field([], description="what is left whole: [head]")
    rewind: Literal["init", "redraw"] | None = Field(
        None,
        description="what survives begins with its first values, `init`, or with new draws, `redraw`; else as it is",
    )

    @model_validator(mode="after")
    def _filters_by_layer(self) -> Self:
        if self.by == "filters" and self.scope == "global":
            raise ValueError("`filters` are compared within a layer: norms of layers of other sizes say little")
        return self

    @property
    def patterns(self) -> list[str]:
        """The patterns of `match`."""
        return [self.match] if isinstance(self.match, str) else self.match

    def takes(self, weight: str) -> bool:
        """Whether a weight, `trunk/conv_1/weight`, is pruned."""
        return matches_any(weight, self.patterns) and not matches_any(weight, self.skip)


def parse_prune(node: Node | None, problems: list[Problem]) -> Prune | None:
    """Parse `prune`; null is none."""
    if node is None or node.value is None:
        return None
    if not node.is_map and not node.broken:
        message = f"`prune` must be a mapping, not {shown(node.plain())}"
        problems.append(Problem(message, "Write `prune: {fraction: 0.8}`.", node.mark, PATH))
        return None
    return build(Prune, node, PATH, problems)
