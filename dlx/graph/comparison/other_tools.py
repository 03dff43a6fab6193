"""The figures of another tool for a network, as dlx's figures plus the terms between them. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...errors import DlxError
from ..graph import LayerNode

if TYPE_CHECKING:
    from .conventions import Convention, ToolFigure


@dataclass(frozen=True)
class Bridge:
    """The terms that lead from dlx's figure to the tool's; terms that are 0 are left out."""

    figure: ToolFigure
    ours: int
    steps: tuple[tuple[str, int], ...]

    @cached_property
    def theirs(self) -> int:
        return self.ours + sum(count for _, count in self.steps)

    def as_json(self) -> dict[str, Any]:
        return {
            "of": self.figure.of,
            "word": self.figure.word,
            "ours": self.ours,
            "terms": [{"label": label, "count": count} for label, count in self.steps],
            "theirs": self.theirs,
            "called": self.figure.theirs,
            "told": self.figure.format(self.theirs),
        }


@dataclass(frozen=True)
class Counted:
    """The counts of a network, or of one of its layers, by another tool's convention."""

    tool: str
    checked: str
    bridges: tuple[Bridge, ...]
    remarks: tuple[str, ...]

    def figure(self, of: str) -> int | None:
        """Return the tool's number; None where it has none."""
        return next((bridge.theirs for bridge in self.bridges if bridge.figure.of == of), None)

    def as_json(self) -> dict[str, Any]:
        return {
            "tool": self.tool,
            "checked": self.checked,
            "params": self.figure("params"),
            "macs": self.figure("macs"),
            "bridge": [bridge.as_json() for bridge in self.bridges],
            "remarks": list(self.remarks),
        }


def counted_as(tool: str, nodes: Sequence[LayerNode]) -> Counted:
    """Count nodes by the convention of `tool`, for one sample, forward.

    Errors: DlxError where dlx does not know the tool.
    """
    from .conventions import CONVENTIONS

    if tool not in CONVENTIONS:
        *known, last = (f"`{name}`" for name in CONVENTIONS)
        raise DlxError(f"dlx does not know how `{tool}` counts", hint=f"It knows {', '.join(known)} and {last}.")
    convention = CONVENTIONS[tool]
    remarks = [*(remark(nodes) for remark in convention.remarks), _unchecked(convention, nodes)]
    return Counted(
        convention.tool,
        convention.checked,
        tuple(_bridge(figure, nodes) for figure in convention.figures),
        tuple(filter(None, remarks)),
    )


def _bridge(figure: ToolFigure, nodes: Sequence[LayerNode]) -> Bridge:
    steps = [(term.label, sum(map(term.count, nodes))) for term in figure.terms]
    return Bridge(figure, sum(map(figure.ours, nodes)), tuple(step for step in steps if step[1]))


def _unchecked(convention: Convention, nodes: Sequence[LayerNode]) -> str:
    """Return a remark on layers for which the tool's count was not checked, and is taken to be dlx's own."""
    counting = {n.kind for n in nodes if n.plan.weights or n.plan.buffers or n.plan.macs}
    results = {n.kind for n in nodes if n.result}  # tools see the output of a layer alone
    strange = sorted(counting - convention.knows | results) if convention.knows is not None else []
    if not strange:
        return ""
    kinds = ", ".join(f"`{kind}`" for kind in strange)
    them = "it" if len(strange) == 1 else "them"
    return f"How {convention.tool} counts {kinds} was not checked: dlx's own figures stand for {them}."
