"""The graph of a network that knows what its inputs and outputs are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx


@dataclass(frozen=True, slots=True)
class Named:
    """An input or an output of a network."""

    name: str

    def debugName(self) -> str:  # noqa: N802 - as TorchScript's values have it
        return self.name


class NamedGraph(fx.Graph):
    """An fx.Graph that gives the names of its inputs and outputs as TorchScript's graphs do.

    `torch.onnx.export` takes the graph of any module for one of those where it is given `dynamic_axes`.
    """

    named_outputs: Sequence[str] = ()

    def inputs(self) -> list[Named]:
        return [Named(str(node.target)) for node in self.nodes if node.op == "placeholder"]

    def outputs(self) -> list[Named]:
        return [Named(name) for name in self.named_outputs]

    def __deepcopy__(self, memo: Any = None) -> fx.Graph:
        copied: fx.Graph = super().__deepcopy__(memo)
        copied.__class__ = NamedGraph
        copied.named_outputs = self.named_outputs  # type: ignore[attr-defined]
        return copied
